from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.bitstream import inspect
from narrows.codecs import Codec, LappedDecoder, LappedEncoder, MeanScaleHyperprior, ScaleHyperprior
from narrows.codecs.bottlenecks.entropy.hyperprior import Hyperprior
from narrows.media import image
from narrows.recipes.data.images import ImageFiles
from narrows.recipes.training.fit_tables import fit_entropy_model_tables
from narrows.tokenizers.image import ImageTokenizer

SIDE, IMAGES, STEPS, DIM = 640, 4, 200, 8


def noise_images(folder: Path) -> ImageFiles:
    """Images of noise whose standard deviation varies by block: latents of mean 0 with different scales."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        deviations = 60 * rng.random((SIDE // 128, SIDE // 128)) ** 2
        noise = rng.normal(size=(SIDE, SIDE, 3)) * np.kron(deviations, np.ones((128, 128)))[..., None]
        image.write(folder / f"{index}.png", (128 + noise).clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
    return ImageFiles(folder)


@pytest.mark.parametrize("part", [MeanScaleHyperprior, ScaleHyperprior])
def test_payload_of_a_trained_hyperprior_is_its_estimated_rate(part: type[Hyperprior], tmp_path: Path) -> None:
    images = noise_images(tmp_path / "data")
    torch.manual_seed(0)
    codec = Codec(LappedEncoder(DIM, 6, 2, 0), part(DIM, 16), LappedDecoder(DIM, 6, 2, 2, 0)).eval()
    model = codec.bottleneck
    with torch.no_grad():
        codec.encoder.linear.weight.mul_(20)
        x = np.stack([images[index] for index in range(IMAGES)])
        y = codec.encoder(torch.from_numpy(x).float() / 127.5 - 1)
        before = float(model(y).bits.sum())
    density = {"params": model.density.parameters(), "lr": 0.03}
    others = {"params": [p for name, p in model.named_parameters() if "density" not in name], "lr": 3e-3}
    adam = torch.optim.Adam([density, others])
    model.train()
    for step in range(STEPS):
        row, column = torch.randint(0, SIDE // 16 - 15, (2,)).tolist()
        for group, rate in zip(adam.param_groups, (0.03, 3e-3), strict=True):
            group["lr"] = rate * min(1.0, 2 * (1 - step / STEPS))
        adam.zero_grad()
        model(y[:, :, row : row + 16, column : column + 16]).bits.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        adam.step()
    model.eval()
    tokenizer = ImageTokenizer(codec)
    tokenizer.tables = fit_entropy_model_tables(tokenizer, images, IMAGES)
    streams = [tokenizer.compress(tokenizer.encode_at(pixels, 0)) for pixels in x]
    bits = 8 * sum(inspect(stream).payload_bytes for stream in streams)
    with torch.no_grad():
        estimated = float(model(y).bits.sum())
    assert estimated < 0.9 * before
    assert bits == pytest.approx(estimated, rel=0.01)

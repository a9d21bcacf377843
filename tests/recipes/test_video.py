from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

import narrows
from narrows.codecs import FactorisedEncoder, SpaceTimeContext, WaveletEncoder
from narrows.errors import InputError
from narrows.recipes import VideoData
from narrows.recipes.training.run import run
from narrows.recipes.training.video_rate_distortion import VideoRateDistortionRecipe
from narrows.recipes.training.video_tokenizer import VideoTokenizerRecipe
from narrows.recipes.video import Network, video

BITS = {"fsq": 15.966, "multi-codebook": 96, "residual-vq": 48, "vq": 14, "lfq": 18, "bsq": 18, "ibq": 14}


@pytest.mark.parametrize("trunk", get_args(get_type_hints(Network)["trunk"]))
@pytest.mark.parametrize("bottleneck", get_args(get_type_hints(Network)["bottleneck"]))
def test_every_network_has_its_rate_and_its_stride(trunk: str, bottleneck: str) -> None:
    if bottleneck == "entropy" and trunk == "wavelet":
        with pytest.raises(InputError, match="expected the trunk factorised with 96 channels"):
            Network(trunk, bottleneck)  # type: ignore[arg-type]
        return
    with torch.device("meta"):
        codec = Network(trunk, bottleneck).codec()  # type: ignore[arg-type]
    assert codec.stride == (4, 8, 8)
    assert isinstance(codec.encoder, {"factorised": FactorisedEncoder, "wavelet": WaveletEncoder}[trunk])
    if bottleneck in BITS:
        assert codec.bottleneck.bits_per_position == pytest.approx(BITS[bottleneck], abs=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Network(dim=64), "expected the trunk factorised with 96 channels"),
        (lambda: VideoData(crop_size=16), "expected crop_size of at least 32"),
        (lambda: VideoData(frames=0), "expected frames of at least 1"),
        (lambda: video(flicker_weight=-1.0), "expected flicker_weight of at least 0"),
        (lambda: video(data=VideoData(frames=6)).training(), "expected data.frames to be a multiple of 4 from 8"),
        (lambda: video(data=VideoData(crop_size=40)).training(), "expected data.crop_size to be a multiple of 16"),
        (
            lambda: video(Network(bottleneck="fsq"), VideoData(frames=6)).training(),
            "expected data.frames to be a multiple of 4, got 6",
        ),
    ],
)
def test_wrong_settings_are_rejected(
    make: Callable[[], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from narrows.recipes.data.synthetic import write_synthetic_videos

    monkeypatch.chdir(tmp_path)
    write_synthetic_videos(tmp_path / "data" / "train")
    write_synthetic_videos(tmp_path / "data" / "valid")
    with pytest.raises(InputError, match=message):
        make()


def test_smoke_run_of_files_writes_a_checkpoint_that_codes(tmp_path: Path) -> None:
    recipe = video()
    assert isinstance(recipe, VideoRateDistortionRecipe)
    tokenizer = narrows.load(run(recipe, tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.VideoTokenizer)
    assert isinstance(tokenizer.codec.bottleneck, SpaceTimeContext)
    x = np.random.default_rng(0).integers(0, 256, (3, 5, 30, 50), np.uint8)
    sizes = []
    for quality in (1, 8):
        data = tokenizer.compress(tokenizer.encode(x, 25, quality=quality))
        assert tokenizer.decode_signal(data).pixels.shape == x.shape
        sizes.append(len(data))
    assert sizes[0] < sizes[1]
    assert "valid/bits_per_pixel-2" in (tmp_path / "metrics.jsonl").read_text()
    assert list((tmp_path / "samples").rglob("*.mkv"))


@pytest.mark.parametrize("network", [Network(bottleneck="fsq"), Network(bottleneck="gaussian", channels=8)])
def test_smoke_run_of_tokens_and_of_latents(tmp_path: Path, network: Network) -> None:
    recipe = video(network)
    assert isinstance(recipe, VideoTokenizerRecipe)
    tokenizer = narrows.load(run(recipe, tmp_path, smoke=True))
    assert isinstance(tokenizer, narrows.VideoTokenizer)
    x = np.random.default_rng(0).integers(0, 256, (3, 6, 24, 40), np.uint8)
    if network.bottleneck == "fsq":
        tokens = tokenizer.encode(x, 25)
        assert tokens.codes.shape == (1, 1, 3, 3, 5)
        assert tokenizer.decompress(tokenizer.compress(tokens)) == tokens
    else:
        latents = tokenizer.encode_latents(x, 25)
        assert latents.values.shape == (1, 8, 3, 3, 5)
        assert tokenizer.decode_latents(latents).shape == x.shape
    assert "flicker" in (tmp_path / "metrics.jsonl").read_text()

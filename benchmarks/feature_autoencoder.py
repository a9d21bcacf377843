"""Is one attention layer enough to narrow a frozen vision encoder (FAE, arXiv 2512.07829)? On handwritten digits.

    python benchmarks/feature_autoencoder.py

A small vision transformer (timm's test_vit, 64 channels) learns scikit-learn's digits, enlarged to 64 × 64 pixels, and
is frozen: 16 tokens of an image. Its tokens are narrowed to a few channels by one attention layer, by one linear layer
(both with the library's Gaussian bottleneck and a feature decoder of two blocks), by PCA with a feature decoder, and by
PCA alone. Measured on images that nothing was trained on:

probe      accuracy of a logistic regression on the channels of all tokens: what the narrow features still say
pooled     the same on their mean over the tokens
decoded    the same on the decoded features of all tokens
error      squared error of the decoded features relative to their variance
"""

from collections.abc import Callable

import numpy as np
import torch
from common import argument_parser, check_positive, emit, mean_and_std, run, show
from torch import Tensor, nn

from narrows.codecs import FeatureDecoder, Gaussian, TimmBackbone, ViTDecoder
from narrows.codecs.image.feature_autoencoder import MergedAttention
from narrows.recipes.feature_autoencoder import ATTENTION_HEAD, DIM, KL_WEIGHT

SIDE, TRAIN, BATCH = 64, 1200, 64  # pixels of a side; images of 1797 for training; images of a step
METHODS = ("attention", "linear", "pca+decoder", "pca")


def main() -> None:
    """Train and score every combination."""
    parser = argument_parser(__doc__)
    parser.add_argument("--channels", type=int, nargs="+", default=[2, 8], help="at most 64 (default: 2 8)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--backbone-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "channels", "backbone_steps", "steps", "seeds", "threads")
    torch.set_num_threads(arguments.threads)

    runs: dict[tuple[str, int], list[dict[str, float]]] = {}
    for seed in range(arguments.seeds):
        features, labels = digits_features(seed, arguments.backbone_steps)
        runs.setdefault(("features", features.shape[1]), []).append(scores(features, features, features, labels))
        for channels in arguments.channels:
            for method in arguments.methods:
                torch.manual_seed(seed)
                narrow, decoded = METHOD[method](features[:TRAIN], channels, arguments.steps)(features)
                runs.setdefault((method, channels), []).append(scores(features, narrow, decoded, labels))
    records: list[dict[str, object]] = []
    for (method, channels), results in sorted(runs.items(), key=lambda item: (item[0][1], item[0][0])):
        record: dict[str, object] = {"benchmark": "feature_autoencoder", "channels": channels, "method": method}
        records.append(record | {"steps": arguments.steps, "seeds": arguments.seeds} | mean_and_std(results))
        emit(records[-1])
    show(records, ["channels", "method", "probe", "pooled", "decoded", "error"])


def digits_features(seed: int, steps: int) -> tuple[Tensor, Tensor]:
    """Tokens (1797, 64, 4, 4) of a backbone that has learned the first images, and their digits; shuffled."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.target))
    images, labels = (
        torch.tensor(data.images[order, None], dtype=torch.float32) / 8 - 1,
        torch.tensor(data.target[order]),
    )
    images = nn.functional.interpolate(images, SIDE, mode="bilinear")
    torch.manual_seed(seed)
    backbone = TimmBackbone("test_vit", 1)
    head, network = nn.Linear(backbone.dim, 10), backbone.network.requires_grad_(True)

    def loss(batch: Tensor) -> Tensor:
        shifts = tuple(torch.randint(-8, 9, (2,)).tolist())
        tokens = backbone.tokens(images[batch].roll(shifts, (2, 3)))
        return nn.functional.cross_entropy(head(tokens.mean((2, 3))), labels[batch])

    train(loss, [*network.parameters(), *head.parameters()], steps)
    network.requires_grad_(False)
    with torch.no_grad():
        return torch.cat([backbone.tokens(part) for part in images.split(256)]), labels


Narrowing = Callable[[Tensor], tuple[Tensor, Tensor]]  # features to channels (N, c, h, w) and decoded features


def learned(layer: Callable[[int], nn.Module]) -> Callable[[Tensor, int, int], Narrowing]:
    """A narrowing by a layer that is trained with a bottleneck and a feature decoder."""

    def made(features: Tensor, channels: int, steps: int) -> Narrowing:
        encoder, bottleneck = layer(features.shape[1]), Gaussian(DIM, channels)
        decoder = feature_decoder(features.shape[1], DIM)

        def loss(batch: Tensor) -> Tensor:
            quantized = bottleneck(encoder(features[batch]))
            error = (decoder.features(quantized.latents) - features[batch]).square().mean()
            return error + KL_WEIGHT * quantized.losses["kl"]

        train(loss, [p for module in (encoder, bottleneck, decoder) for p in module.parameters()], steps)
        bottleneck.eval()

        @torch.no_grad()
        def narrowed(x: Tensor) -> tuple[Tensor, Tensor]:
            y = bottleneck.encode_latents(encoder(x))
            return y, decoder.features(bottleneck.decode_latents(y))

        return narrowed

    return made


def pca(features: Tensor, channels: int, steps: int) -> Narrowing:
    """The first principal components of the tokens, and their linear reconstruction."""
    tokens = features.movedim(1, -1).flatten(0, -2)
    mean = tokens.mean(0)
    basis = torch.linalg.svd(tokens - mean, full_matrices=False).Vh[:channels]

    def narrowed(x: Tensor) -> tuple[Tensor, Tensor]:
        y = (x.movedim(1, -1) - mean) @ basis.T
        return y.movedim(-1, 1), (y @ basis + mean).movedim(-1, 1)

    return narrowed


def pca_with_decoder(features: Tensor, channels: int, steps: int) -> Narrowing:
    """The first principal components of the tokens, and a feature decoder that is trained on them."""
    linear, decoder = pca(features, channels, steps), feature_decoder(features.shape[1], channels)
    y = linear(features)[0]
    scale = y.std()

    def loss(batch: Tensor) -> Tensor:
        return (decoder.features(y[batch] / scale) - features[batch]).square().mean()

    train(loss, list(decoder.parameters()), steps)

    @torch.no_grad()
    def narrowed(x: Tensor) -> tuple[Tensor, Tensor]:
        y = linear(x)[0]
        return y, decoder.features(y / scale)

    return narrowed


METHOD: dict[str, Callable[[Tensor, int, int], Narrowing]] = {
    "attention": learned(lambda width: MergedAttention(width, DIM, 1, ATTENTION_HEAD)),
    "linear": learned(lambda width: nn.Conv2d(width, DIM, 1)),
    "pca+decoder": pca_with_decoder,
    "pca": pca,
}


def feature_decoder(width: int, dim: int) -> FeatureDecoder:
    """A small feature decoder, whose pixel decoder is not used."""
    return FeatureDecoder(ViTDecoder(width, 16, 1, 1), dim, 2, 1)


def train(loss: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], steps: int) -> None:
    """AdamW on batches of the first TRAIN images, with warm-up and linear decay."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-3, (0.9, 0.999), weight_decay=0.01)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, (step + 1) / 20, 2 * (1 - step / steps))
        optimizer.zero_grad()
        loss(torch.randint(TRAIN, (BATCH,))).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()


def scores(features: Tensor, narrow: Tensor, decoded: Tensor, labels: Tensor) -> dict[str, float]:
    """The measures, on the images after the first TRAIN."""
    held_out = features[TRAIN:]
    spread = (held_out - held_out.mean((0, 2, 3), keepdim=True)).square().mean()
    return {
        "probe": probe(narrow.flatten(1), labels),
        "pooled": probe(narrow.mean((2, 3)), labels),
        "decoded": probe(decoded.flatten(1), labels),
        "error": float((decoded[TRAIN:] - held_out).square().mean() / spread),
    }


def probe(x: Tensor, labels: Tensor) -> float:
    """Accuracy of a logistic regression, which is trained on the first TRAIN images, on the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, targets = x.numpy(), labels.numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(values[:TRAIN], targets[:TRAIN])
    return float(model.score(values[TRAIN:], targets[TRAIN:]))


if __name__ == "__main__":
    run(main)

"""Accuracy at real bytes on handwritten digits: a bottleneck inside a classifier against other ways.

    python benchmarks/supervised_compression.py > supervised_compression.jsonl

It needs scikit-learn. The teacher is a small convolutional classifier of digits of 8 x 8 pixels. Encoder, entropy model
and the number of latents, 8 of one position, are the same in the first three:

- student: Entropic Student (narrows/recipes/training/narrowed_classifier.py): the features of the teacher are matched
  at a weight of the bits, then decoder and last stages learn its answers.
- end-to-end: the same network, trained on the labels and the bits, without a teacher.
- autoencoder: the images are reconstructed, by a decoder of the same size, and the teacher classifies them.
- jpeg, webp: the teacher classifies the images that Pillow has coded and decoded, in grey.

`payload_bits` are the bits of the entropy-coded bytes of a stream, one image a stream: 8 latents are so few that rANS
itself costs a part. `estimated_bits` are those of the density, `bytes` those of the whole .nrw stream or file. Of JPEG
and WebP, `payload_bits` are those of the data after the headers: the scan of JPEG, the VP8 frame of WebP.
"""

import copy
import io
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from common import argument_parser, check_positive, emit, mean_and_std, run, show
from digits import Digits, accuracy, digits, frozen
from PIL import Image
from torch import Tensor, nn

from narrows.bitstream import inspect
from narrows.codecs import (
    ClassifierDecoder,
    ClassifierEncoder,
    ConvClassifier,
    FactorizedPrior,
    NarrowedClassifier,
    Quantized,
)
from narrows.codecs.image.classifiers import Classifier
from narrows.parts import part
from narrows.recipes.losses import FeatureMatchingDistillation, KnowledgeDistillation
from narrows.recipes.training.fit_tables import fit_code_tables
from narrows.tokenizers import ImageClassifier

LATENTS, WIDTH, WIDTHS, BATCH = 8, 24, (24, 48), 64
BETAS = (0.25, 1.0, 4.0, 16.0)  # of bits against squared differences of features
LABEL_BETAS = (0.003, 0.01, 0.03, 0.1)  # of bits against the cross-entropy in nats
PIXEL_BETAS = (0.1, 0.4, 1.6, 6.4)  # of bits against the squared error of pixels in [-1, 1]
QUALITIES = {"JPEG": (5, 10, 20, 40, 75, 95), "WEBP": (0, 10, 40, 75, 95)}
Loss = Callable[[Tensor, Tensor], Tensor]


def train(weights: Iterable[nn.Parameter], loss: Loss, data: Digits, steps: int, lr: float) -> None:
    """Adam on random batches; the learning rate falls to 0 along a cosine."""
    optimizer = torch.optim.Adam(list(weights), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(data.train), (BATCH,))
        optimizer.zero_grad()
        loss(data.train[chosen], data.train_labels[chosen]).backward()
        optimizer.step()
        schedule.step()


def trained_teacher(data: Digits, steps: int) -> ConvClassifier:
    """A classifier of the images themselves."""
    teacher = ConvClassifier(10, WIDTHS).train()
    train(teacher.parameters(), lambda x, y: nn.functional.cross_entropy(teacher(x), y), data, steps, 4e-3)
    frozen(teacher)
    return teacher


def network(teacher: ConvClassifier) -> NarrowedClassifier:
    """Encoder, entropy model and decoder in place of the first stage, and a copy of the others."""
    tail = copy.deepcopy(teacher).requires_grad_(True)
    encoder = ClassifierEncoder(LATENTS, WIDTH, (2, 2, 2))
    return NarrowedClassifier(
        encoder, FactorizedPrior(LATENTS), ClassifierDecoder(LATENTS, WIDTH, (2, 2), WIDTHS[0]), tail
    )


def student(teacher: ConvClassifier, data: Digits, beta: float, steps: int) -> NarrowedClassifier:
    """The two stages of the Entropic Student."""
    codec, matching, distillation = network(teacher), FeatureMatchingDistillation(), KnowledgeDistillation()

    def first(x: Tensor, y: Tensor) -> Tensor:
        out = codec(x)
        return matching(out.features, teacher.outputs(x)[:-1]) + beta * out.quantized.bits.mean()

    def second(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            quantized: Quantized = codec.bottleneck(codec.encoder(x))
        return distillation(codec.finish(quantized).logits, y, teacher(x))

    codec.train().tail.eval().requires_grad_(False)
    train([p for p in codec.parameters() if p.requires_grad], first, data, steps, 4e-3)
    codec.train().tail.requires_grad_(True)
    codec.encoder.eval()
    codec.bottleneck.eval()
    train([*codec.decoder.parameters(), *codec.tail.parameters()], second, data, steps // 2, 2e-3)
    return codec.eval()


def end_to_end(teacher: ConvClassifier, data: Digits, beta: float, steps: int) -> NarrowedClassifier:
    """The same network with new weights, trained on labels and bits."""
    codec = network(ConvClassifier(10, WIDTHS)).train()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        out = codec(x)
        return nn.functional.cross_entropy(out.logits, y) + beta * out.quantized.bits.mean()

    train(codec.parameters(), loss, data, steps + steps // 2, 4e-3)
    return codec.eval()


@part("classifier-of-pixels")
class PixelClassifier(Classifier):
    """A classifier with a stage before all others that does nothing, in whose place images are decoded.

    Args:
        classifier: the classifier.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier, self.channels, self.classes = classifier, classifier.channels, classifier.classes
        self.dims, self.strides = (classifier.channels, *classifier.dims), (1, *classifier.strides)

    def stage(self, x: Tensor, index: int) -> Tensor:
        """See `Classifier.stage`."""
        return self.classifier.stage(x, index - 1) if index else x

    def remove_stages(self, stages: range) -> None:
        """See `Classifier.remove_stages`."""
        self.classifier.remove_stages(range(max(0, stages.start - 1), max(0, stages.stop - 1)))


def autoencoder(teacher: ConvClassifier, data: Digits, beta: float, steps: int) -> NarrowedClassifier:
    """An autoencoder of the images, whose result the teacher classifies."""
    decoder = ClassifierDecoder(LATENTS, WIDTH, (2, 2, 2), 3)
    encoder, pixels = ClassifierEncoder(LATENTS, WIDTH, (2, 2, 2)), PixelClassifier(copy.deepcopy(teacher))
    codec = NarrowedClassifier(encoder, FactorizedPrior(LATENTS), decoder, pixels).train()
    codec.tail.eval().requires_grad_(False)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        quantized = codec.bottleneck(codec.encoder(x))
        error = (codec.decoder(quantized.latents) - x).square().flatten(1).sum(1).mean()
        return error + beta * quantized.bits.mean()

    train([p for p in codec.parameters() if p.requires_grad], loss, data, steps + steps // 2, 4e-3)
    return codec.eval()


@torch.no_grad()
def measured(codec: NarrowedClassifier, data: Digits) -> dict[str, float]:
    """Accuracy in percent of classes found from streams, and their sizes: means over the images."""
    model = ImageClassifier(codec, 8, [str(digit) for digit in range(10)])
    model.tables = fit_code_tables(model, codec.encode(data.train))
    streams = model.compress(list(data.test))
    return {
        "accuracy": accuracy(model.classify(streams), data.test_labels),
        "estimated_bits": float(codec(data.test).quantized.bits.mean()),
        "payload_bits": 8 * float(np.mean([inspect(stream).payload_bytes for stream in streams])),
        "bytes": float(np.mean([len(stream) for stream in streams])),
    }


@torch.no_grad()
def pillow(teacher: ConvClassifier, data: Digits, format: str, quality: int) -> dict[str, float]:
    """The same of the images as files of Pillow."""
    pixels = ((data.test[:, 0] + 1) * 127.5).round().byte().numpy()
    files, decoded = [], []
    for grey in pixels:
        file = io.BytesIO()
        Image.fromarray(grey).save(file, format, quality=quality, optimize=True)
        files.append(file.getvalue())
        decoded.append(np.asarray(Image.open(file).convert("L"), np.float32) / 127.5 - 1)
    x = torch.from_numpy(np.stack(decoded))[:, None].expand(-1, 3, -1, -1).contiguous()
    return {
        "accuracy": accuracy(teacher(x), data.test_labels),
        "payload_bits": 8 * float(np.mean([payload(file, format) for file in files])),
        "bytes": float(np.mean([len(file) for file in files])),
    }


def payload(file: bytes, format: str) -> int:
    """Bytes without the headers: of JPEG those between SOS and EOI, of WebP those of the VP8 chunk."""
    if format == "WEBP":
        return len(file) - 20  # RIFF, size, WEBP, VP8, size
    start = file.index(b"\xff\xda")
    return len(file) - start - 2 - int.from_bytes(file[start + 2 : start + 4], "big") - 2


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--steps", type=int, default=400, help="steps of the first stage; the second has half of them")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "steps", "seeds")
    torch.set_num_threads(1)
    results: dict[tuple[str, float], list[dict[str, float]]] = {}

    def add(method: str, setting: float, made: dict[str, float]) -> None:
        results.setdefault((method, setting), []).append(made)

    begin = time.perf_counter()
    for seed in range(arguments.seeds):
        data = digits(seed)
        torch.manual_seed(seed)
        teacher = trained_teacher(data, arguments.steps)
        with torch.no_grad():
            add("teacher", 0, {"accuracy": accuracy(teacher(data.test), data.test_labels)})
        ways: Sequence[tuple[str, Callable[..., NarrowedClassifier], tuple[float, ...]]] = (
            ("student", student, BETAS),
            ("end-to-end", end_to_end, LABEL_BETAS),
            ("autoencoder", autoencoder, PIXEL_BETAS),
        )
        for method, make, betas in ways:
            for beta in betas:
                add(method, beta, measured(make(teacher, data, beta, arguments.steps), data))
        for format, qualities in QUALITIES.items():
            for quality in qualities:
                add(format.lower(), quality, pillow(teacher, data, format, quality))
    rows = []
    for (method, setting), runs in results.items():
        record = {"method": method, "setting": setting, "seeds": len(runs), **mean_and_std(runs)}
        emit(record)
        rows.append(record)
    show(rows, ("method", "setting", "accuracy", "estimated_bits", "payload_bits", "bytes"))
    emit({"seconds": time.perf_counter() - begin})


if __name__ == "__main__":
    run(main)

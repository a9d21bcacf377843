"""Classes learned one after another on handwritten digits: a key-value bottleneck against a linear head and an MLP.

    python benchmarks/class_incremental.py > class_incremental.jsonl

It needs scikit-learn. All three read the same 256 fixed random features (ReLU) of the 64 pixels. The ten classes come
in five tasks of two; no image of an earlier task is seen again. `incremental` is the accuracy on all classes after the
last task, `together` that after as many steps on all classes at once, both in percent. The keys are fitted to the
features of all training images before, without their labels, as in the published experiment (arXiv 2207.11240).

Forgetting depends on the number of steps and the learning rate, so each method is trained at several. The rates of the
values are multiplied by the number of codebooks, since the mean over them divides the gradient by it.
"""

import copy
import time
from collections.abc import Callable, Sequence
from itertools import product

import torch
from common import argument_parser, check_positive, emit, mean_and_std, run, show
from digits import Digits, accuracy, digits
from torch import Tensor, nn

from narrows.codecs import Encoder, KeyCodebooks, KeyValueClassifier
from narrows.codecs.base import Reach
from narrows.parts import part

FEATURES, CODEBOOKS, ENTRIES, KEY_DIM = 256, 32, 128, 6
TASKS = tuple((2 * task, 2 * task + 1) for task in range(5))
BATCH, KEY_STEPS, LABEL_SMOOTHING = 64, 100, 0.1
RATES = (3.0, 1.0, 0.3, 0.1, 0.03)


@part("random-features")
class RandomFeatures(Encoder):
    """Images (B, 3, 8, 8) to fixed random features (B, dim, 1, 1): one linear map of all pixels, ReLU.

    Args:
        dim: number of features.
    """

    reach: tuple[Reach, ...] = ((0, 0), (0, 0))

    def __init__(self, dim: int = FEATURES) -> None:
        super().__init__()
        self.channels, self.dim, self.stride = 3, dim, (8, 8)
        self.map = nn.Conv2d(3, dim, 8)
        nn.init.normal_(self.map.weight, std=(3 * 64) ** -0.5)
        nn.init.normal_(self.map.bias, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 8 h, 8 w) to (B, dim, h, w)."""
        self.check_signal(x)
        return nn.functional.conv2d(x, self.map.weight, self.map.bias, stride=8).relu()


class KeyValue(nn.Module):
    """The values of a KeyValueClassifier, for codes (N, K, 1, 1).

    Args:
        codec: with keys that are fitted.
    """

    def __init__(self, codec: KeyValueClassifier) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, codes: Tensor) -> Tensor:
        """Codes to logits (N, 10)."""
        return self.codec.decode(codes)


def with_keys(encoder: RandomFeatures, images: Tensor) -> KeyValueClassifier:
    """A KeyValueClassifier whose keys are fitted to images."""
    codec = KeyValueClassifier(encoder, KeyCodebooks(FEATURES, CODEBOOKS, ENTRIES, KEY_DIM), 10).train()
    for _ in range(KEY_STEPS):
        codec(images[torch.randint(len(images), (4 * BATCH,))])
    return codec.eval()


def fit(model: nn.Module, inputs: Tensor, labels: Tensor, steps: int, lr: float) -> None:
    """Stochastic gradient descent without momentum on random batches of features or codes."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr)
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (BATCH,))
        loss = nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen], label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def measured(data: Digits, counts: Sequence[int], seed: int) -> dict[tuple[str, int, float], dict[str, float]]:
    """Accuracies in percent by method, number of steps of a task, and learning rate."""
    torch.manual_seed(seed)
    encoder = RandomFeatures()
    codec = with_keys(encoder, data.train)
    with torch.no_grad():
        features = [encoder(x).flatten(1) for x in (data.train, data.test)]
        codes = [codec.encode(x) for x in (data.train, data.test)]
    mlp = (nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 10))
    ways: dict[str, tuple[Callable[[], nn.Module], list[Tensor]]] = {
        "linear": (lambda: nn.Linear(FEATURES, 10), features),
        "mlp": (lambda: copy.deepcopy(nn.Sequential(*mlp)), features),
        "key-value": (lambda: KeyValue(copy.deepcopy(codec)), codes),
    }
    results: dict[tuple[str, int, float], dict[str, float]] = {}
    for (name, (make, (train, test))), steps, rate in product(ways.items(), counts, RATES):
        lr = rate * CODEBOOKS if name == "key-value" else rate
        for order, tasks in {"incremental": TASKS, "together": (tuple(range(10)),)}.items():
            model = make()
            for classes in tasks:
                of_task = torch.isin(data.train_labels, torch.tensor(classes))
                fit(model, train[of_task], data.train_labels[of_task], steps * len(classes) // 2, lr)
            with torch.no_grad():
                results.setdefault((name, steps, rate), {})[order] = accuracy(model(test), data.test_labels)
    return results


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 200], help="steps of each task of two classes")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "steps", "seeds")
    torch.set_num_threads(1)
    begin, rows = time.perf_counter(), []
    runs = [measured(digits(seed), arguments.steps, seed) for seed in range(arguments.seeds)]
    for name, steps, rate in runs[0]:
        means = mean_and_std([each[name, steps, rate] for each in runs])
        rows.append({"method": name, "steps": steps, "rate": rate, "seeds": len(runs), **means})
        emit(rows[-1])
    show(rows, ("method", "steps", "rate", "incremental", "together"))
    emit({"seconds": time.perf_counter() - begin})


if __name__ == "__main__":
    run(main)

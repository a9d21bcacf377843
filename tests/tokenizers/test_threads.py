"""Eight threads with one tokenizer give the results of one thread, and leave the process settings as they were."""

import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import narrows
from narrows.checkpoints import folder
from narrows.media import audio, image

THREADS, CALLS = 8, 24


def settings() -> tuple[Any, ...]:
    """Settings of the process that calls into PyTorch, Pillow and NumPy may change."""
    backends = torch.backends
    return (
        backends.cudnn.enabled,
        backends.cudnn.benchmark,
        backends.cudnn.deterministic,
        backends.cudnn.allow_tf32,
        backends.mkldnn.enabled,
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_rng_state().sum().item(),
        np.geterr(),
        tuple(map(str, warnings.filters)),
    )


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(call: Callable[[int], Any], calls: int = CALLS) -> list[Any]:
    before = settings()
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(call, range(calls)))
    assert settings() == before
    return results


def test_audio(tiny_checkpoint: Any, tmp_path: Path) -> None:
    tokenizer = narrows.load(tiny_checkpoint())
    rng = np.random.default_rng(0)
    for i in range(CALLS):
        audio.write(tmp_path / f"{i}.wav", rng.normal(0, 0.2, (1 + i % 3, 4000 + 977 * i)).astype(np.float32), 22_050)

    def encode(i: int) -> Any:
        data = tokenizer.compress(tokenizer.encode_file(tmp_path / f"{i}.wav"))
        return data, tokenizer.decode(tokenizer.decompress(data)).numpy().tobytes()

    alone = [encode(i) for i in range(CALLS)]
    assert in_threads(encode) == alone


@pytest.mark.parametrize("effort", [None, 1])
def test_images(image_checkpoint: Path, tmp_path: Path, effort: int | None) -> None:
    tokenizer = narrows.load("image" if effort else image_checkpoint)
    rng, calls = np.random.default_rng(0), THREADS if effort else CALLS
    for i in range(calls):
        pixels = rng.integers(0, 256, (1 + 2 * (i % 2), 20 + i, 50 - i)).astype(np.uint8)
        image.write(tmp_path / f"{i}.png", pixels)

    def encode(i: int) -> Any:
        data = tokenizer.compress(tokenizer.encode_file(tmp_path / f"{i}.png", quality=1 + i % 8, effort=effort))
        return data, tokenizer.decode_signal(data).pixels.tobytes()

    alone = [encode(i) for i in range(calls)]
    assert in_threads(encode, calls) == alone


def test_modules_are_constructed_while_others_load(tiny_checkpoint: Any) -> None:
    place = tiny_checkpoint()

    def either(i: int) -> Any:
        return folder.read(place) if i % 2 else [torch.nn.ReLU() for _ in range(500)]

    assert len(in_threads(either)) == CALLS


def test_loading(tiny_checkpoint: Any) -> None:
    """While one thread loads, the others load with the default dtype of the process in place afterwards."""
    place, before = tiny_checkpoint(), torch.get_default_dtype()
    fingerprint = narrows.load(place).fingerprint
    torch.set_default_dtype(torch.float64)
    try:
        assert set(in_threads(lambda i: folder.read(place).fingerprint)) == {fingerprint}
    finally:
        torch.set_default_dtype(before)

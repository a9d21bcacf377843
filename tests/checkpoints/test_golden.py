"""Codes, payloads and decoded signals of the shipped models do not change.

golden.npz was made by version 0.1. After training a shipped model anew: `python tests/checkpoints/test_golden.py`.
Integers are compared exactly; floats of other processors may round differently, which moves few codes and samples.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

import narrows
from narrows.bitstream.framing import Framing
from narrows.bitstream.header import read_header
from narrows.media import audio

GOLDEN = Path(__file__).with_name("golden.npz")
SPEECH = Path(__file__).parents[2] / "examples" / "speech.wav"
RECORDINGS = ("speech", "audio")
IMAGES = {  # name of the arrays: model and settings
    "image": ("image", {"quality": 4.0, "effort": 0.0}),
    "image_effort": ("image", {"quality": 2.5, "effort": 1.0}),
    "image_tokens": ("image-tokens", {}),
}
TIES = 1e-3  # largest fraction of codes that may differ on another processor


def payload(data: bytes) -> np.ndarray:
    """The entropy-coded bytes of a stream, without header, lengths and checksums."""
    framing, view = Framing(read_header(data)), memoryview(data)
    starts = framing.locate(view)
    offsets = [framing.parse(view, int(start), chunk) for chunk, start in enumerate(starts)]
    return np.frombuffer(b"".join(framing.payload(view, each, i) for i, each in enumerate(offsets)), np.uint8)


def samples(model: str) -> tuple[np.ndarray, int]:
    recording = audio.read(SPEECH)
    x = recording.samples[:, : 2 * recording.sample_rate]
    return np.concatenate([x, 0.5 * np.roll(x, 9)]) if model == "audio" else x, recording.sample_rate


def int16(x: torch.Tensor) -> np.ndarray:
    return (x.numpy() * 32768).round().clip(-32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("model", RECORDINGS)
def test_recording(golden: dict[str, np.ndarray], model: str) -> None:
    tokenizer, codes = narrows.load(model), golden[f"{model}_codes"]
    tokens = tokenizer.encode(*samples(model))
    assert tokens.codes.shape == codes.shape
    assert np.mean(tokens.codes.numpy() != codes) <= TIES
    tokens.codes.copy_(torch.from_numpy(codes.astype(np.int64)))
    data = tokenizer.compress(tokens)
    assert np.array_equal(payload(data), golden[f"{model}_payload"])
    assert torch.equal(tokenizer.decompress(data).codes, tokens.codes)
    difference = int16(tokenizer.decode(tokens)).astype(int) - golden[f"{model}_samples"]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("name", IMAGES)
def test_image(golden: dict[str, np.ndarray], name: str) -> None:
    model, settings = IMAGES[name]
    tokenizer = narrows.load(model)
    tokens = tokenizer.encode(golden["image_input"], **settings)
    codes = golden[f"{name}_codes"]
    assert tokens.codes.shape == codes.shape
    assert np.mean(tokens.codes.numpy() != codes) <= TIES
    tokens.codes.copy_(torch.from_numpy(codes))
    data = tokenizer.compress(tokens)
    assert np.array_equal(payload(data), golden[f"{name}_payload"])
    assert torch.equal(tokenizer.decompress(data).codes.long(), torch.from_numpy(codes).long())
    difference = tokenizer.decode_signal(tokens).pixels.astype(int) - golden[f"{name}_pixels"]
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) <= TIES


def clip(image: np.ndarray) -> np.ndarray:
    """Nine frames (3, 9, 48, 64) of a window that moves over an image."""
    return np.stack([image[:, 2 * t : 2 * t + 48, 3 * t : 3 * t + 64] for t in range(9)], 1)


def test_video(golden: dict[str, np.ndarray]) -> None:
    tokenizer, codes = narrows.load("video"), golden["video_codes"]
    tokens = tokenizer.encode(clip(golden["image_input"]), 25, quality=4.0)
    assert tokens.codes.shape == codes.shape
    assert np.mean(tokens.codes.numpy() != codes) <= TIES
    tokens.codes.copy_(torch.from_numpy(codes))
    data = tokenizer.compress(tokens)
    assert np.array_equal(payload(data), golden["video_payload"])
    assert torch.equal(tokenizer.decompress(data).codes.long(), torch.from_numpy(codes).long())
    difference = tokenizer.decode_signal(tokens).pixels.astype(int) - golden["video_pixels"]
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) <= TIES


def make(path: Path) -> None:
    """Write the file anew, from the shipped models and the image that it holds."""
    with np.load(path) as file:
        image = file["image_input"]
    arrays = {"image_input": image}
    for model in RECORDINGS:
        recordings = narrows.load(model)
        tokens = recordings.encode(*samples(model))
        arrays[f"{model}_codes"] = tokens.codes.numpy().astype(np.int16)
        arrays[f"{model}_payload"] = payload(recordings.compress(tokens))
        arrays[f"{model}_samples"] = int16(recordings.decode(tokens))
    for name, (model, settings) in IMAGES.items():
        images = narrows.load(model)
        tokens = images.encode(image, **settings)
        arrays[f"{name}_codes"] = tokens.codes.numpy().astype(np.int16)
        arrays[f"{name}_payload"] = payload(images.compress(tokens))
        arrays[f"{name}_pixels"] = images.decode_signal(tokens).pixels
    videos = narrows.load("video")
    tokens = videos.encode(clip(image), 25, quality=4.0)
    arrays["video_codes"] = tokens.codes.numpy().astype(np.int16)
    arrays["video_payload"] = payload(videos.compress(tokens))
    arrays["video_pixels"] = videos.decode_signal(tokens).pixels
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    make(GOLDEN)

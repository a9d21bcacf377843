"""Lyra V2 (google/lyra) as an operating point: a neural codec of speech, by its three networks for LiteRT.

audio, 16 kHz ─ frames of 320 ─▶ soundstream_encoder ─▶ (64,) ─▶ quantizer ─▶ 16, 30 or 46 codes of 4 bits ─▶ file
                     audio ◀─ lyragan ◀─ (64,) ◀─ quantizer ◀─┘

The networks come in a folder that the environment variable NARROWS_LYRA names: soundstream_encoder.tflite,
quantizer.tflite and lyragan.tflite of google/lyra (lyra/model_coeffs, version 1.3). The program lyra is not needed. A
file holds the codes and nothing else, 8, 15 or 23 bytes for 20 ms; Lyra's resampling, packet loss concealment and
comfort noise are not part of it.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Json, OperatingPoint, Unavailable
from narrows.evaluation.baselines.settings import SettingRange
from narrows.extras import require_package
from narrows.media.audio import Audio
from narrows.media.medium import Signal

VARIABLE = "NARROWS_LYRA"
FILES = {name: f"{name}.tflite" for name in ("soundstream_encoder", "quantizer", "lyragan")}
CODES = {3.2: 16, 6.0: 30, 9.2: 46}  # codes of 4 bits per frame, by kbit/s
RATE, FRAME = 16_000, 320  # Hz, samples
MAX_CODES, SIZE = 46, 16  # codes per frame that the quantizer takes, entries of a codebook
SETTINGS = SettingRange("kbit/s", 3.2, 9.2, 6.0, integer=False, choices=tuple(CODES))

Frames = NDArray[np.uint8]  # (frames, codes per frame)


@dataclass(frozen=True)
class LyraBaseline(OperatingPoint):
    """Lyra V2 at one of its three bitrates, for audio of one channel.

    Args:
        family: "lyra".
        setting: 3.2, 6 or 9.2 kbit/s.

    Raises:
        InputError: Lyra does not offer the setting.
    """

    medium: ClassVar[str] = "audio"
    family: str
    setting: float

    def __post_init__(self) -> None:
        SETTINGS.check(self.family, self.setting)

    @property
    def codes_per_frame(self) -> int:
        """Number of codes of 4 bits for 20 ms."""
        return CODES[self.setting]

    @property
    def key(self) -> Mapping[str, Json]:
        """Digests of the networks, and the version of LiteRT."""
        versions = f"ai-edge-litert {version('ai-edge-litert')}"
        return {"setting": self.setting, "networks": dict(_digests(_folder())), "versions": versions}

    def check(self) -> None:
        """Raises Unavailable if LiteRT or a network is missing."""
        try:
            require_package("ai_edge_litert")
        except InputError as error:
            raise Unavailable(str(error)) from error
        _networks(_folder())

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """16 entries for each code of a frame."""
        return (SIZE,) * self.codes_per_frame

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the codes. Raises MediaError for several channels."""
        if (channels := signal.extent.channels) > 1:
            raise MediaError(f"expected at most 1 channel for {self.family}, got {channels}; skip it")
        samples = cast(Audio, signal).resampled(RATE).samples[0]
        frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        path = folder / "coded.lyra"
        path.write_bytes(pack(self._encoded(frames)))
        return path

    def decode(self, path: Path) -> Audio:
        """The audio at 16 kHz, a whole number of frames."""
        decode, generate = _signatures(_folder(), ("quantizer", "decode"), ("lyragan", "serving_default"))
        indices = np.full((MAX_CODES, 1, 1), -1, np.int32)
        decoded = list[NDArray[np.float32]]()
        for frame in self._frames(path):
            indices[: len(frame), 0, 0] = frame
            latent = decode(encoding_indices=indices)["output_0"]
            decoded.append(generate(input_audio=latent)["output_0"][0])
        return Audio(np.concatenate(decoded)[None], RATE)

    def codes(self, path: Path) -> NDArray[np.int64]:
        """Codes (16, 30 or 46; frames)."""
        return self._frames(path).T.astype(np.int64)

    def payload(self, path: Path) -> int:
        """All bytes."""
        return path.stat().st_size

    def _encoded(self, frames: NDArray[np.float32]) -> Frames:
        analyze, quantize = _signatures(_folder(), ("soundstream_encoder", "serving_default"), ("quantizer", "encode"))
        codes = np.zeros((len(frames), self.codes_per_frame), np.uint8)
        count = np.int32(self.codes_per_frame)
        for number, frame in enumerate(frames):
            latent = analyze(input_audio=frame[None])["output_0"]
            found = quantize(input_frames=latent, num_quantizers=count)
            codes[number] = next(out for out in found.values() if out.size == MAX_CODES).ravel()[:count]
        return codes

    def _frames(self, path: Path) -> Frames:
        return unpack(path.read_bytes(), self.codes_per_frame)


def pack(codes: Frames) -> bytes:
    """Bytes of codes of 4 bits, the first of two in the upper half; their number is even."""
    pairs = codes.reshape(-1, 2)
    return (pairs[:, 0] << 4 | pairs[:, 1]).tobytes()


def unpack(data: bytes, codes_per_frame: int) -> Frames:
    """Inverse of `pack`."""
    packed = np.frombuffer(data, np.uint8)
    return np.stack([packed >> 4, packed & 15], 1).reshape(-1, codes_per_frame)


def _folder() -> str:
    """The folder of the networks. Raises Unavailable if none is named."""
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        raise Unavailable(f"expected the folder of Lyra's networks in {VARIABLE}, got none; see docs/evaluation.md")
    return folder


@cache
def _networks(folder: str) -> Mapping[str, bytes]:
    """The networks by name. Raises Unavailable if a file is missing."""
    try:
        return {name: Path(folder, file).read_bytes() for name, file in FILES.items()}
    except OSError as error:
        names = ", ".join(FILES.values())
        raise Unavailable(f"expected {names} in {folder!r} ({error.strerror}); see docs/evaluation.md") from error


@cache
def _digests(folder: str) -> Mapping[str, str]:
    """SHA-256 of each network."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in _networks(folder).items()}


def _signatures(folder: str, *wanted: tuple[str, str]) -> Sequence[Any]:
    """Functions of networks by (network, signature). They start anew: the networks keep their state between frames."""
    return [_interpreter(folder, network).get_signature_runner(signature) for network, signature in wanted]


def _interpreter(folder: str, network: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=_networks(folder)[network], num_threads=1)

"""Operating points: a mono signal at 16 kHz to a real file on disk and back."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np
import soxr
from numpy.typing import NDArray

import narrows

if TYPE_CHECKING:
    from narrows import AudioTokenizer

Signal = NDArray[np.float32]
RATE = 16_000  # Hz


@dataclass(frozen=True)
class Coded:
    """What came back (T,), the bytes of the file, and how many of them are the codec's packets, where known."""

    x: Signal
    file_bytes: int
    payload_bytes: int | None


class Point(Protocol):
    """A codec at one setting."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def __call__(self, x: Signal, folder: Path) -> Coded:
        """Write x (T,) as a file into the folder, read the file back, decode it."""


@cache
def loaded(model: str) -> "AudioTokenizer":
    """`narrows.load`, once a process."""
    return narrows.load(model)


@dataclass(frozen=True)
class Narrows:
    """A narrows model with its first `codebooks`."""

    model: str
    codebooks: int

    @property
    def name(self) -> str:
        """Such as "speech, 6 codebooks"."""
        return f"{self.model}, {self.codebooks} codebooks"

    def __call__(self, x: Signal, folder: Path) -> Coded:
        """Encode, write the `.nrw`, and decode what was read back from it."""
        tokenizer, path = loaded(self.model), folder / "coded.nrw"
        path.write_bytes(tokenizer.compress(tokenizer.encode(x, RATE, codebooks=self.codebooks)))
        decoded = tokenizer.decode(tokenizer.decompress(path.read_bytes()))
        return Coded(decoded[0].numpy(), path.stat().st_size, None)


@dataclass(frozen=True)
class Opus:
    """libopus through FFmpeg in an `.opus` file: variable rate, 20 ms frames, highest complexity (FFmpeg's defaults).

    kbps: nominal kbit/s. application: libopus' mode, "audio" (what FFmpeg takes unless told otherwise) or "voip".
    """

    kbps: float
    application: str

    @property
    def name(self) -> str:
        """Such as "opus 8 audio"."""
        return f"opus {self.kbps:g} {self.application}"

    def __call__(self, x: Signal, folder: Path) -> Coded:
        """Encode to a file, decode the file at 48 kHz as Opus does, and resample to 16 kHz."""
        path, payload = folder / "coded.opus", 0
        samples = (x * 32768).round().clip(-32768, 32767).astype(np.int16)
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libopus", rate=RATE, layout="mono", options={"application": self.application})
            stream.bit_rate = round(self.kbps * 1000)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate = RATE
            for packet in (*stream.encode(frame), *stream.encode(None)):
                payload += packet.size
                file.mux(packet)
        with av.open(str(path)) as file:
            rate = file.streams.audio[0].rate
            decoded = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
        return Coded(soxr.resample(decoded, rate, RATE, quality="VHQ").astype(np.float32), path.stat().st_size, payload)

"""FFmpeg's audio encoders: those in PyAV, or else those of the program `ffmpeg`, which are more."""

import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from narrows.errors import MediaError
from narrows.evaluation.base import Sound, Unavailable
from narrows.media import audio

LAYOUTS = {1: "mono", 2: "stereo"}


class Engine(ABC):
    """What runs an encoder. Sound has one or two channels, options are FFmpeg's. One thread."""

    @property
    @abstractmethod
    def versions(self) -> str:
        """Of all that encodes and decodes."""

    @abstractmethod
    def encode(self, sound: Sound, path: Path, encoder: str, options: Mapping[str, str]) -> None:
        """Writes a file in the format of its suffix. Raises MediaError for what the encoder refuses."""

    @abstractmethod
    def decode(self, path: Path) -> Sound:
        """The sound of a file. Raises MediaError where it cannot be read."""


class Pyav(Engine):
    """Encoding in this process; decoding as the library reads any file, by libsndfile or else FFmpeg."""

    @property
    def versions(self) -> str:
        """Such as "PyAV 18.1.0, libavcodec 62.28.102, libavformat 62.12.102, libsndfile 1.2.2"."""
        return f"{pyav_versions()}, libsndfile {soundfile.__libsndfile_version__}"

    def encode(self, sound: Sound, path: Path, encoder: str, options: Mapping[str, str]) -> None:
        """As Engine."""
        import av

        layout = LAYOUTS[len(sound.samples)]
        try:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.samples), format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
            frame.pts = 0  # so that an encoder's padding comes before time 0, and the file tells of it
            with av.open(str(path), "w", options={"metadata_header_padding": "0"}) as file:  # 8 KiB in FLAC else
                stream = file.add_stream(encoder, rate=sound.rate, layout=layout, options=dict(options))
                assert isinstance(stream, av.AudioStream)
                stream.codec_context.thread_count = 1
                for packet in (*stream.encode(frame), *stream.encode(None)):
                    file.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            raise _refusal(encoder, str(getattr(error, "strerror", None) or error)) from error

    def decode(self, path: Path) -> Sound:
        """As Engine."""
        read = audio.read(path)
        return Sound(read.samples, read.sample_rate)


class Program(Engine):
    """Both in processes of the program, whose start takes its time."""

    @property
    def versions(self) -> str:
        """Such as "ffmpeg version 7.1"."""
        return _run("-version").decode("utf-8", "replace").partition(" Copyright")[0]

    def encode(self, sound: Sound, path: Path, encoder: str, options: Mapping[str, str]) -> None:
        """As Engine."""
        given = ("-f", "f32le", "-ar", str(sound.rate), "-ac", str(len(sound.samples)), "-i", "pipe:0")
        told = [part for name, value in options.items() for part in (f"-{name}:a", value)]
        samples = np.ascontiguousarray(sound.samples.T, "<f4").tobytes()
        try:
            _run(*given, "-c:a", encoder, *told, "-threads", "1", "-y", f"file:{path}", fed=samples)
        except subprocess.CalledProcessError as error:
            raise _refusal(encoder, error.stderr.decode("utf-8", "replace")) from error

    def decode(self, path: Path) -> Sound:
        """As Engine; by way of a file beside it."""
        decoded = path.with_suffix(".wav")
        try:
            _run("-i", f"file:{path}", "-c:a", "pcm_f32le", "-y", f"file:{decoded}")
        except subprocess.CalledProcessError as error:
            raise MediaError(f"the program ffmpeg cannot decode {path.name}; encode it again") from error
        return PYAV.decode(decoded)


PYAV, PROGRAM = Pyav(), Program()


def engine(encoder: str) -> Engine:
    """PyAV where it has the encoder, else the program. Raises Unavailable where neither has."""
    import av

    if pyav_has(encoder):
        return PYAV
    if encoder in program_encoders():
        return PROGRAM
    raise Unavailable(f"neither PyAV {av.__version__} nor a program ffmpeg has the encoder {encoder}")


def pyav_has(encoder: str) -> bool:
    """Whether PyAV has an encoder, for sound or pictures."""
    import av

    try:
        av.Codec(encoder, "w")
    except ValueError:  # no encoder of that name
        return False
    return True


@cache
def program_encoders() -> frozenset[str]:
    """The encoders of the program; none where there is no program."""
    if shutil.which("ffmpeg") is None:
        return frozenset()
    lines = _run("-encoders").decode("utf-8", "replace").splitlines()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


def pyav_versions() -> str:
    """Such as "PyAV 18.1.0, libavcodec 62.28.102, libavformat 62.12.102"."""
    import av

    versions = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libavformat"))
    return f"PyAV {av.__version__}, {', '.join(versions)}"


def payload(path: Path) -> int:
    """Bytes of all packets in a file with one stream."""
    import av

    with av.open(str(path)) as file:
        return sum(packet.size for packet in file.demux())


def _run(*arguments: str, fed: bytes = b"") -> bytes:
    command = ["ffmpeg", "-hide_banner", "-v", "error", *arguments]
    return subprocess.run(command, input=fed, capture_output=True, check=True).stdout


def _refusal(encoder: str, said: str) -> MediaError:
    first = (said.strip() or "no reason given").splitlines()[0]
    reason = re.sub(r"\[\S+ @ 0x[0-9a-f]+\] ", "", first)  # who says it, and an address
    return MediaError(f"{encoder} cannot code this sound ({reason}); give another setting")

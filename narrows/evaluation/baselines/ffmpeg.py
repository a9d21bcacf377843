"""FFmpeg's audio encoders, from PyAV or else from the program `ffmpeg`, which usually has more of them."""

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
from narrows.evaluation.base import Unavailable
from narrows.media import audio
from narrows.media.audio import Audio

LAYOUTS = {1: "mono", 2: "stereo"}


class FFmpegBackend(ABC):
    """Runs an audio encoder of FFmpeg in one thread. Audio has one or two channels."""

    @property
    @abstractmethod
    def versions(self) -> str:
        """Versions of the libraries or the program that encode and decode."""

    @abstractmethod
    def encode(self, recording: Audio, path: Path, encoder: str, options: Mapping[str, str]) -> None:
        """Writes a file in the container of its suffix.

        Args:
            recording: Audio of one or two channels.
            path: File to write.
            encoder: FFmpeg's name of the encoder.
            options: FFmpeg's options.

        Raises:
            MediaError: The encoder rejects the audio or the options.
        """

    @abstractmethod
    def decode(self, path: Path) -> Audio:
        """The audio of a file. Raises MediaError if it cannot be decoded."""


class PyAVBackend(FFmpegBackend):
    """Encodes with PyAV in this process; decodes with `narrows.media` (libsndfile, else FFmpeg)."""

    @property
    def versions(self) -> str:
        """For example "PyAV 18.1.0, libavcodec 62.28.102, libavformat 62.12.102, libsndfile 1.2.2"."""
        return f"{pyav_versions()}, libsndfile {soundfile.__libsndfile_version__}"

    def encode(self, recording: Audio, path: Path, encoder: str, options: Mapping[str, str]) -> None:
        """See FFmpegBackend."""
        import av

        layout = LAYOUTS[len(recording.samples)]
        try:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(recording.samples), format="fltp", layout=layout)
            frame.sample_rate, frame.time_base = recording.sample_rate, Fraction(1, recording.sample_rate)
            frame.pts = 0  # the encoder's padding then comes before time 0 and is declared in the file
            # without this option FLAC files get 8 KiB of padding
            with av.open(str(path), "w", options={"metadata_header_padding": "0"}) as file:
                stream = file.add_stream(encoder, rate=recording.sample_rate, layout=layout, options=dict(options))
                assert isinstance(stream, av.AudioStream)
                stream.codec_context.thread_count = 1
                for packet in (*stream.encode(frame), *stream.encode(None)):
                    file.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            raise _encoder_error(encoder, str(getattr(error, "strerror", None) or error)) from error

    def decode(self, path: Path) -> Audio:
        """See FFmpegBackend."""
        read = audio.read(path)
        return read


class ProgramBackend(FFmpegBackend):
    """Encodes and decodes with the program `ffmpeg`; measured times include its start."""

    @property
    def versions(self) -> str:
        """For example "ffmpeg version 7.1"."""
        return _run("-version").decode("utf-8", "replace").partition(" Copyright")[0]

    def encode(self, recording: Audio, path: Path, encoder: str, options: Mapping[str, str]) -> None:
        """See FFmpegBackend."""
        source = ("-f", "f32le", "-ar", str(recording.sample_rate), "-ac", str(len(recording.samples)), "-i", "pipe:0")
        encoder_options = [part for name, value in options.items() for part in (f"-{name}:a", value)]
        samples = np.ascontiguousarray(recording.samples.T, "<f4").tobytes()
        try:
            _run(*source, "-c:a", encoder, *encoder_options, "-threads", "1", "-y", f"file:{path}", stdin=samples)
        except subprocess.CalledProcessError as error:
            raise _encoder_error(encoder, error.stderr.decode("utf-8", "replace")) from error

    def decode(self, path: Path) -> Audio:
        """See FFmpegBackend. Decodes to a WAV file beside `path`."""
        decoded = path.with_suffix(".wav")
        try:
            _run("-i", f"file:{path}", "-c:a", "pcm_f32le", "-y", f"file:{decoded}")
        except subprocess.CalledProcessError as error:
            raise MediaError(f"the program ffmpeg cannot decode {path.name}; encode it again") from error
        return PYAV.decode(decoded)


PYAV, PROGRAM = PyAVBackend(), ProgramBackend()


def backend(encoder: str) -> FFmpegBackend:
    """Returns PyAV if it has the encoder, else the program. Raises Unavailable if neither has it."""
    import av

    if pyav_has_encoder(encoder):
        return PYAV
    if encoder in program_encoders():
        return PROGRAM
    raise Unavailable(f"neither PyAV {av.__version__} nor a program ffmpeg has the encoder {encoder}")


def pyav_has_encoder(encoder: str) -> bool:
    """Whether PyAV has an audio or video encoder."""
    import av

    try:
        av.Codec(encoder, "w")
    except ValueError:  # no encoder of that name
        return False
    return True


@cache
def program_encoders() -> frozenset[str]:
    """Names of the encoders of the program `ffmpeg`; empty if it is not installed."""
    if shutil.which("ffmpeg") is None:
        return frozenset()
    lines = _run("-encoders").decode("utf-8", "replace").splitlines()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


def pyav_versions() -> str:
    """For example "PyAV 18.1.0, libavcodec 62.28.102, libavformat 62.12.102"."""
    import av

    versions = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libavformat"))
    return f"PyAV {av.__version__}, {', '.join(versions)}"


def payload(path: Path) -> int:
    """Bytes of all packets in a file with one stream."""
    import av

    with av.open(str(path)) as file:
        return sum(packet.size for packet in file.demux())


def _run(*arguments: str, stdin: bytes = b"") -> bytes:
    command = ["ffmpeg", "-hide_banner", "-v", "error", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def _encoder_error(encoder: str, message: str) -> MediaError:
    first_line = (message.strip() or "no reason given").splitlines()[0]
    reason = re.sub(r"\[\S+ @ 0x[0-9a-f]+\] ", "", first_line)  # FFmpeg's component name and address
    return MediaError(f"{encoder} cannot encode this recording ({reason}); use another setting")

"""Operating points of classical audio codecs, by FFmpeg's encoders.

sound ─ rate that the codec takes ─▶ encoder ─▶ file ─▶ decoder ─▶ sound, at the decoder's rate
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Json, OperatingPoint, Signal, Sound
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.scale import Scale

MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
NARROW = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)  # kbit/s of AMR
WIDE = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
CODEC2 = {0.7: "700C", 1.2: "1200", 1.3: "1300", 1.4: "1400", 1.6: "1600", 2.4: "2400", 3.2: "3200"}


@dataclass(frozen=True)
class Coder:
    """An encoder by FFmpeg's name, and what it takes.

    suffix: of its container. scale: of settings, None for a lossless one. rates: in Hz, ascending; any where there are
    none. channels: at most. modes: FFmpeg's option `mode` for each setting, for an encoder that takes no bit rate.
    """

    encoder: str
    suffix: str
    scale: Scale | None
    rates: tuple[int, ...] = ()
    channels: int = 2
    options: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[float, str] = field(default_factory=dict)

    def rate(self, wanted: int) -> int:
        """The lowest rate that keeps all of a sound at `wanted` Hz, else the highest."""
        return min((rate for rate in self.rates if rate >= wanted), default=self.rates[-1]) if self.rates else wanted

    def told(self, setting: float | None) -> dict[str, str]:
        """Options of FFmpeg."""
        told = dict(self.options)
        if setting is not None:
            told |= {"mode": self.modes[setting]} if self.modes else {"b": str(round(setting * 1000))}
        return told


def _kbps(low: float, high: float, usual: float) -> Scale:
    return Scale("kbit/s", low, high, usual, whole=False)


def _modes(only: tuple[float, ...]) -> Scale:
    return Scale("kbit/s", only[0], only[-1], only[-1], whole=False, only=only)


CODERS = {
    "opus": Coder("libopus", ".opus", _kbps(6, 510, 12), OPUS_RATES, options={"application": "audio"}),
    "opus-voip": Coder("libopus", ".opus", _kbps(6, 510, 12), OPUS_RATES, options={"application": "voip"}),
    "aac": Coder("aac", ".m4a", _kbps(8, 512, 32), MPEG_RATES),
    "mp3": Coder("libmp3lame", ".mp3", _kbps(8, 320, 32), MPEG_RATES),
    "vorbis": Coder("libvorbis", ".ogg", _kbps(8, 500, 32), MPEG_RATES),
    "amr-nb": Coder("libopencore_amrnb", ".amr", _modes(NARROW), (8_000,), channels=1),
    "amr-wb": Coder("libvo_amrwbenc", ".amr", _modes(WIDE), (16_000,), channels=1),
    "speex": Coder("libspeex", ".spx", _kbps(2, 44, 16), (8_000, 16_000, 32_000)),
    "codec2": Coder("libcodec2", ".c2", _modes(tuple(CODEC2)), (8_000,), channels=1, modes=CODEC2),
    "flac": Coder("flac", ".flac", None, options={"compression_level": "12"}),
}


@dataclass(frozen=True)
class AudioPeer(OperatingPoint):
    """A codec of CODERS at nominal kbit/s, those of all channels. Raises InputError for a setting that it has not.

    FFmpeg's defaults hold but for what CODERS says: Opus, for one, has a variable rate and frames of 20 ms; FLAC has 16
    bits a sample.
    """

    medium: ClassVar[str] = "audio"
    family: str
    setting: float | None = None

    def __post_init__(self) -> None:
        scale = self.coder.scale
        if scale:
            scale.check(self.family, self.setting)
        elif self.setting is not None:
            raise InputError(f"{self.name} given; {self.family} is lossless and has no settings, type {self.family}")

    @property
    def coder(self) -> Coder:
        """The encoder."""
        return CODERS[self.family]

    @property
    def key(self) -> Mapping[str, Json]:
        """Encoder, options and versions."""
        options: dict[str, Json] = dict(self.coder.told(self.setting))
        return {"encoder": self.coder.encoder, "options": options, "versions": self._engine.versions}

    def check(self) -> None:
        """Raises Unavailable where neither PyAV nor the program `ffmpeg` has the encoder."""
        ffmpeg.engine(self.coder.encoder)

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the file. Raises MediaError for more channels than the codec takes, and what the encoder refuses."""
        assert isinstance(signal, Sound)
        coder, channels = self.coder, len(signal.samples)
        if channels > coder.channels:
            raise MediaError(f"{channels} channels given, {self.family} takes {coder.channels} at most; leave it out")
        path, given = folder / f"coded{coder.suffix}", signal.at(coder.rate(signal.rate))
        if not given.samples.size:
            raise MediaError(f"a recording of {signal.samples.shape[1]} samples given, too short for {self.family}")
        self._engine.encode(given, path, coder.encoder, coder.told(self.setting))
        return path

    def decode(self, path: Path) -> Sound:
        """The sound, at the rate that its decoder gives."""
        return self._engine.decode(path)

    def payload(self, path: Path) -> int:
        """Bytes of the packets."""
        return ffmpeg.payload(path)

    @property
    def _engine(self) -> ffmpeg.Engine:
        return ffmpeg.engine(self.coder.encoder)

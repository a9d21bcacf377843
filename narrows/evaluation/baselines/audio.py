"""Operating points of classical audio codecs with FFmpeg's encoders.

audio ─ resampled to a rate of the codec ─▶ encoder ─▶ file ─▶ decoder ─▶ audio, at the decoder's rate
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Json, OperatingPoint
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.baselines.settings import SettingRange
from narrows.media.audio import Audio
from narrows.media.medium import Signal

MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
AMR_NB_BITRATES = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)  # kbit/s
AMR_WB_BITRATES = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
CODEC2_MODES = {0.7: "700C", 1.2: "1200", 1.3: "1300", 1.4: "1400", 1.6: "1600", 2.4: "2400", 3.2: "3200"}


@dataclass(frozen=True)
class AudioEncoder:
    """One of FFmpeg's audio encoders and the inputs that it accepts.

    Args:
        encoder: FFmpeg's name.
        suffix: Suffix of its container.
        settings: Accepted bitrates; None for a lossless encoder.
        rates: Accepted sample rates in Hz, ascending; empty for any.
        channels: Largest number of channels.
        options: Options of FFmpeg at every setting.
        modes: FFmpeg's option `mode` by setting, for an encoder that takes no bitrate.
    """

    encoder: str
    suffix: str
    settings: SettingRange | None
    rates: tuple[int, ...] = ()
    channels: int = 2
    options: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[float, str] = field(default_factory=dict)

    def rate(self, original: int) -> int:
        """The lowest accepted rate that keeps the full bandwidth of audio at `original` Hz, else the highest."""
        return (
            min((rate for rate in self.rates if rate >= original), default=self.rates[-1]) if self.rates else original
        )

    def options_at(self, setting: float | None) -> dict[str, str]:
        """FFmpeg's options at a setting."""
        options = dict(self.options)
        if setting is not None:
            options |= {"mode": self.modes[setting]} if self.modes else {"b": str(round(setting * 1000))}
        return options


def _bitrates(low: float, high: float, example: float) -> SettingRange:
    return SettingRange("kbit/s", low, high, example, integer=False)


def _fixed_bitrates(choices: tuple[float, ...]) -> SettingRange:
    return SettingRange("kbit/s", choices[0], choices[-1], choices[-1], integer=False, choices=choices)


AUDIO_ENCODERS = {
    "opus": AudioEncoder("libopus", ".opus", _bitrates(6, 510, 12), OPUS_RATES, options={"application": "audio"}),
    "opus-voip": AudioEncoder("libopus", ".opus", _bitrates(6, 510, 12), OPUS_RATES, options={"application": "voip"}),
    "aac": AudioEncoder("aac", ".m4a", _bitrates(8, 512, 32), MPEG_RATES),
    "mp3": AudioEncoder("libmp3lame", ".mp3", _bitrates(8, 320, 32), MPEG_RATES),
    "vorbis": AudioEncoder("libvorbis", ".ogg", _bitrates(8, 500, 32), MPEG_RATES),
    "amr-nb": AudioEncoder("libopencore_amrnb", ".amr", _fixed_bitrates(AMR_NB_BITRATES), (8_000,), channels=1),
    "amr-wb": AudioEncoder("libvo_amrwbenc", ".amr", _fixed_bitrates(AMR_WB_BITRATES), (16_000,), channels=1),
    "speex": AudioEncoder("libspeex", ".spx", _bitrates(2, 44, 16), (8_000, 16_000, 32_000)),
    "codec2": AudioEncoder(
        "libcodec2", ".c2", _fixed_bitrates(tuple(CODEC2_MODES)), (8_000,), channels=1, modes=CODEC2_MODES
    ),
    "flac": AudioEncoder("flac", ".flac", None, options={"compression_level": "12"}),
}


@dataclass(frozen=True)
class AudioBaseline(OperatingPoint):
    """A codec of AUDIO_ENCODERS at a nominal bitrate.

    Options that AUDIO_ENCODERS does not name have FFmpeg's defaults: Opus has a variable bitrate and frames of 20 ms,
    FLAC has 16 bits per sample.

    Args:
        family: Name in AUDIO_ENCODERS.
        setting: kbit/s of all channels together; None for a lossless codec.

    Raises:
        InputError: The codec does not offer the setting.
    """

    medium: ClassVar[str] = "audio"
    family: str
    setting: float | None = None

    def __post_init__(self) -> None:
        settings = self.encoder.settings
        if settings:
            settings.check(self.family, self.setting)
        elif self.setting is not None:
            raise InputError(
                f"expected {self.family} without a setting (it is lossless), got {self.name}; type {self.family}"
            )

    @property
    def encoder(self) -> AudioEncoder:
        """The encoder."""
        return AUDIO_ENCODERS[self.family]

    @property
    def key(self) -> Mapping[str, Json]:
        """Encoder, options and versions."""
        options: dict[str, Json] = dict(self.encoder.options_at(self.setting))
        return {"encoder": self.encoder.encoder, "options": options, "versions": self._backend.versions}

    def check(self) -> None:
        """Raises Unavailable if neither PyAV nor the program `ffmpeg` has the encoder."""
        ffmpeg.backend(self.encoder.encoder)

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the file. Raises MediaError if the encoder rejects the audio, for example for too many channels."""
        encoder, audio, channels = self.encoder, cast(Audio, signal), signal.extent.channels
        if channels > encoder.channels:
            raise MediaError(f"expected at most {encoder.channels} channels for {self.family}, got {channels}; skip it")
        path, resampled = folder / f"coded{encoder.suffix}", audio.resampled(encoder.rate(audio.sample_rate))
        if not resampled.samples.size:
            raise MediaError(f"{audio.samples.shape[1]} samples are too few for {self.family}; skip the recording")
        self._backend.encode(resampled, path, encoder.encoder, encoder.options_at(self.setting))
        return path

    def decode(self, path: Path) -> Audio:
        """The audio, at the decoder's sample rate."""
        return self._backend.decode(path)

    def payload(self, path: Path) -> int:
        """Number of bytes of the packets."""
        return ffmpeg.payload(path)

    @property
    def _backend(self) -> ffmpeg.FFmpegBackend:
        return ffmpeg.backend(self.encoder.encoder)

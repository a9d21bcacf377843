"""The file formats in which clips are written, by suffix."""

from dataclasses import dataclass, field

from narrows.errors import InputError
from narrows.media.audio.limits import channels_text


@dataclass(frozen=True)
class Format:
    """A container and its encoders, by their names in FFmpeg.

    Attributes:
        container: the muxer.
        codec, options: the encoder of frames and its options.
        sound_codec: the encoder of sound.
        sample_rates: those that it takes, in Hz; None for all. Sound of other rates is resampled to 48 kHz.
        layouts: by number of channels, in the order of a WAV.
        milliseconds: whether time stamps are rounded to milliseconds.
        lossless: whether frames are kept exactly.
        muxer_options: of the muxer.
    """

    container: str
    codec: str
    options: dict[str, str]
    sound_codec: str
    sample_rates: tuple[int, ...] | None
    layouts: dict[int, str]
    milliseconds: bool = False
    lossless: bool = False
    muxer_options: dict[str, str] = field(default_factory=dict)

    def pixel_format(self, height: int, width: int) -> str:
        """FFmpeg's name of the format of frames. H.264 cannot hold odd sizes with chroma of half the size."""
        if self.lossless:
            return "bgr0"
        return "yuv444p" if self.codec == "libx264" and (height % 2 or width % 2) else "yuv420p"

    def encoder_options(self, width: int) -> dict[str, str]:
        """Options of the encoder of frames. FFV1 cannot cut frames of one column into slices, as it does by default."""
        return {"level": "1"} if self.codec == "ffv1" and width == 1 else dict(self.options)

    def layout(self, channels: int, name: str) -> str:
        """FFmpeg's name of the layout of a number of channels. Raises InputError for one that it does not take."""
        if channels not in self.layouts:
            known = ", ".join(map(str, self.layouts))
            raise InputError(
                f"expected sound of {known} channels for {name}, got {channels_text(channels)}; mix them, or leave the "
                "sound out"
            )
        return self.layouts[channels]


_COMMON = {1: "mono", 2: "stereo", 3: "3.0"}
_AAC = _COMMON | {4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_OPUS = _COMMON | {4: "quad", 6: "5.1", 8: "7.1"}  # FFmpeg confuses the order of 5 and 7 channels
_FLAC = _COMMON | {4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
# With AVX-512, "mbtree" of x264 165 reads memory that was never written, and the same clip gives other bytes. SSE4.2 is
# as fast.
X264_ASM = "asm=MMX2,SSE2,SSSE3,SSE4.2"
_H264 = {"crf": "18", "preset": "fast", "x264-params": X264_ASM}
_VP9 = {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_FFV1 = {"level": "3", "slicecrc": "1", "g": "30"}
_START = {"movflags": "+faststart"}  # the index at the begin, for players that load a file

FORMATS = {
    ".mp4": Format("mp4", "libx264", _H264, "aac", _AAC_RATES, _AAC, muxer_options=_START),
    ".mov": Format("mov", "libx264", _H264, "aac", _AAC_RATES, _AAC, muxer_options=_START),
    ".webm": Format(
        "webm", "libvpx-vp9", _VP9, "libopus", (48_000, 24_000, 16_000, 12_000, 8_000), _OPUS, milliseconds=True
    ),
    ".mkv": Format("matroska", "ffv1", _FFV1, "flac", None, _FLAC, milliseconds=True, lossless=True),
}

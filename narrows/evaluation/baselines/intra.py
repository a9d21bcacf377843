"""Operating points of images that are coded as one intra frame of a video encoder, with PyAV.

RGB ─ Y′CbCr 4:4:4, BT.601, full range ─▶ encoder ─▶ elementary stream (VP9: IVF) ─▶ decoder ─▶ inverse conversion

8 bits per sample. The rounding to 8 bits in Y′CbCr limits the PSNR to about 53 dB at any setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from narrows.errors import MediaError
from narrows.evaluation.baselines.settings import SettingRange
from narrows.evaluation.baselines.streams import NO_SEI, StreamBaseline, StreamEncoder, decoded_frames
from narrows.media.image import Image
from narrows.media.medium import Signal

# ITU-R BT.601, full range as in JFIF
TO_YCC = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772],
        [0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402],
    ],
    np.float32,
)
OFFSET = np.array([0, 128, 128], np.float32)
FULL_RANGE, BT601 = 2, 5  # FFmpeg's AVCOL_RANGE_JPEG and AVCOL_SPC_BT470BG


def _x264(qp: float) -> dict[str, str]:
    return {"preset": "veryslow", "tune": "psnr", "qp": f"{qp:g}"}


def _x265(qp: float) -> dict[str, str]:
    quiet = "info=0:log-level=none"
    return {
        "preset": "veryslow",
        "tune": "psnr",
        "x265-params": f"qp={qp:g}:keyint=1:pools=none:frame-threads=1:wpp=0:{quiet}",
    }


def _vp9(crf: float) -> dict[str, str]:
    return {"crf": f"{crf:g}", "b": "0", "deadline": "good", "cpu-used": "0"}


INTRA_ENCODERS = {
    "x264-intra": StreamEncoder("libx264", ".h264", SettingRange("QP", 1, 51, 30), _x264, NO_SEI),
    "x265-intra": StreamEncoder("libx265", ".hevc", SettingRange("QP", 0, 51, 30), _x265),
    "vp9-intra": StreamEncoder("libvpx-vp9", ".ivf", SettingRange("CRF", 0, 63, 40), _vp9),
}


@dataclass(frozen=True)
class IntraBaseline(StreamBaseline):
    """A video encoder of INTRA_ENCODERS at one quantizer.

    Args:
        family: Name in INTRA_ENCODERS.
        setting: QP or CRF; higher is a lower quality.

    Raises:
        InputError: The encoder does not accept the setting.
    """

    medium: ClassVar[str] = "image"
    encoders: ClassVar[Mapping[str, StreamEncoder]] = INTRA_ENCODERS

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the file. Raises MediaError if the encoder rejects the image."""
        from av import VideoFrame

        path = folder / f"coded{self.encoder.suffix}"
        frame = VideoFrame.from_ndarray(_to_ycc(cast(Image, signal).pixels), format="yuv444p")
        frame.color_range, frame.colorspace = FULL_RANGE, BT601
        try:
            self.encoder.write(path, self.setting, [frame], Fraction(1))
        except MediaError as error:
            raise MediaError(
                f"{self.family} cannot encode this image ({error}); skip the image or the codec"
            ) from error
        return path

    def decode(self, path: Path) -> Image:
        """The decoded image. Raises MediaError if it cannot be decoded."""
        frame = next(decoded_frames(path), None)
        if frame is None:
            raise MediaError(f"{self.family} wrote a file that cannot be decoded; use another setting")
        return Image(_to_rgb(frame.to_ndarray().astype(np.uint8)))


def _to_ycc(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts RGB (3, H, W) to YCbCr planes (3, H, W)."""
    ycc = pixels.transpose(1, 2, 0).astype(np.float32) @ TO_YCC.T + OFFSET
    return np.ascontiguousarray(ycc.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1))


def _to_rgb(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts YCbCr planes (3, H, W) to RGB (3, H, W)."""
    rgb = (planes.transpose(1, 2, 0).astype(np.float32) - OFFSET) @ np.linalg.inv(TO_YCC).T
    return np.ascontiguousarray(rgb.round().clip(0, 255).astype(np.uint8).transpose(2, 0, 1))

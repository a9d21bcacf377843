"""Converts frames between what video files hold and RGB of 8 bits, with libswscale.

file ─▶ matrix, range, bits, chroma at half size ─▶ RGB (3, H, W)        the first frame decides what is assumed
RGB (3, H, W) ─▶ BT.709, limited range, as the encoder takes it ─▶ file
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from narrows.media.video.signal import Pixels

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_RGB, _BT709, _UNSPECIFIED = 0, 1, 2  # FFmpeg's numbers of matrices
_MATRICES = {_BT709: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_REFUSED = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "YDzDx", 12: "of chromaticities", 14: "ICtCp"}
_LIMITED, _FULL = 1, 2  # FFmpeg's numbers of ranges
_PLAIN_CURVES = frozenset({0, 1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 15})  # of displays with 8 bits, and unstated ones
_CURVES = {8: "linear light", 9: "logarithmic", 10: "logarithmic", 16: "HDR (PQ)", 17: "SMPTE 428", 18: "HDR (HLG)"}
_WIDE_PRIMARIES = {9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "Display P3"}
# Rounded to the nearest level, with chroma interpolated, no dithering, and the same result on every processor.
_FLAGS = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact:sws_dither=none"
_ORDER = (2, 0, 1)  # planes of red, green and blue in FFmpeg's gbrp


class UnsupportedColours(Exception):
    """Colours without a known conversion; the message names them."""


@dataclass(frozen=True)
class Colours:
    """How the numbers of a frame are to be understood.

    Attributes:
        matrix: "rgb" or a name of libswscale's scale filter.
        stated: whether the file states the matrix.
        full_range: whether the range is 0 to 255.
        bits: of a sample.
        alpha: whether there is a plane of transparency.
        notes: what the conversion changes, one line each.
    """

    matrix: str
    stated: bool
    full_range: bool
    bits: int
    alpha: bool
    notes: tuple[str, ...]


def colours_of(frame: "VideoFrame") -> Colours:
    """The colours of a frame. Raises UnsupportedColours for a matrix without a known conversion."""
    format = frame.format
    grey = format.name.startswith(("gray", "ya", "mono"))
    rgb = format.is_rgb or format.has_palette
    number = int(frame.colorspace)
    if not rgb and not grey and number in _REFUSED:
        raise UnsupportedColours(f"the colour matrix {_REFUSED[number]}")
    stated = rgb or grey or number in _MATRICES
    hd = frame.width >= 1280 or frame.height > 576
    matrix = "rgb" if rgb else _MATRICES.get(number, "bt709" if hd else "bt601")
    full = rgb or format.name.startswith("yuvj") or int(frame.color_range) == _FULL
    full = full or (grey and int(frame.color_range) != _LIMITED)
    bits = max(component.bits for component in format.components)
    alpha = any(component.is_alpha for component in format.components)
    notes = []
    if bits > 8:
        notes.append(f"its {bits} bits per sample are rounded to 8")
    if (curve := int(frame.color_trc)) not in _PLAIN_CURVES:
        notes.append(f"its levels are {_CURVES.get(curve, 'of an unknown curve')} and are kept without tone mapping")
    if (primaries := int(frame.color_primaries)) in _WIDE_PRIMARIES:
        notes.append(f"its primary colours are {_WIDE_PRIMARIES[primaries]} and are kept as those of BT.709")
    if alpha:
        notes.append("its transparency is dropped, and transparent pixels get the colours that are stored for them")
    return Colours(matrix, stated, full, bits, alpha, tuple(notes))


class Converter:
    """Converts frames of one size, format and colours with a filter of FFmpeg.

    Args:
        frame: the first frame.
        scale: options of the filter `scale`.
        format: FFmpeg's name of the format of the result.
    """

    def __init__(self, frame: "VideoFrame", scale: str, format: str) -> None:
        from av.filter import Graph

        self.key = _key(frame)
        self._graph = Graph()
        source: Any = self._graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        )
        for filter, options in (("scale", f"{scale}:{_FLAGS}"), ("format", f"pix_fmts={format}"), ("buffersink", None)):
            following = self._graph.add(filter, options)
            source.link_to(following)
            source = following
        self._graph.configure()

    def convert(self, frame: "VideoFrame") -> "VideoFrame":
        """The converted frame, without a time."""
        frame.pts, frame.time_base = 0, Fraction(1)
        self._graph.push(frame)
        result: Any = self._graph.pull()
        return result


class ToRgb:
    """Converts decoded frames; a new converter is made where the format changes."""

    def __init__(self) -> None:
        self._converter: Converter | None = None

    def __call__(self, frame: "VideoFrame") -> Pixels:
        """The pixels (3, H, W) of a frame, as they are stored. Raises UnsupportedColours."""
        colours = colours_of(frame)
        if colours.matrix == "rgb":
            frame.colorspace, frame.color_range = _RGB, _FULL
        if self._converter is None or self._converter.key != _key(frame):
            source = "" if colours.matrix == "rgb" else f"in_color_matrix={colours.matrix}:"
            source += f"in_range={'pc' if colours.full_range else 'tv'}:out_range=pc"
            self._converter = Converter(frame, source, "gbrp")
        converted = self._converter.convert(frame)
        return np.stack([_plane(converted, place) for place in _ORDER])


class FromRgb:
    """Converts pixels (3, H, W) to frames of a format, in BT.709 with limited range, or in RGB for "bgr0"."""

    def __init__(self, format: str) -> None:
        self._format = format
        self._converter: Converter | None = None

    def __call__(self, pixels: Pixels) -> "VideoFrame":
        """A frame for the encoder, without a time."""
        from av import VideoFrame

        frame = VideoFrame(pixels.shape[2], pixels.shape[1], "gbrp")
        for place, channel in zip(_ORDER, pixels, strict=True):
            _plane(frame, place)[:] = channel
        frame.colorspace, frame.color_range = _RGB, _FULL
        if self._converter is None:
            rgb = self._format == "bgr0"
            scale = "in_range=pc:out_range=pc" if rgb else "in_range=pc:out_color_matrix=bt709:out_range=tv"
            self._converter = Converter(frame, scale, self._format)
        return self._converter.convert(frame)


def _plane(frame: "VideoFrame", place: int) -> Pixels:
    """A view of a plane (H, W) of a frame of gbrp."""
    plane = frame.planes[place]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def _key(frame: "VideoFrame") -> tuple[object, ...]:
    return frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range)

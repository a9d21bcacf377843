"""How stored frames are turned and mirrored to be upright, by the display matrix of the file."""

import struct
from dataclasses import dataclass

import numpy as np

from narrows.media.video.signal import Pixels


@dataclass(frozen=True)
class Orientation:
    """Operations on stored frames, in this order: transposed, then mirrored along each axis.

    Attributes:
        transposed: whether rows become columns.
        left_right, up_down: whether the result is mirrored.
        known: False for a matrix that turns by other angles than multiples of 90°, which is left out.
    """

    transposed: bool = False
    left_right: bool = False
    up_down: bool = False
    known: bool = True

    @property
    def mirrored(self) -> bool:
        """Whether the stored frame is a mirror image."""
        return (self.transposed + self.left_right + self.up_down) % 2 == 1

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which the stored frame, mirrored left to right first if it is so, is turned."""
        corner = np.array([[[0, 1], [2, 3]]], np.uint8)
        wanted = self.apply(corner)[0]
        start = corner[0, :, ::-1] if self.mirrored else corner[0]
        return next(90 * turns for turns in range(4) if np.array_equal(np.rot90(start, -turns), wanted))

    def apply(self, pixels: Pixels) -> Pixels:
        """The upright frame (C, H, W) of a stored one."""
        if self.transposed:
            pixels = pixels.transpose(0, 2, 1)
        if self.left_right:
            pixels = pixels[:, :, ::-1]
        if self.up_down:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels)


def orientation_of(matrix: bytes | None) -> Orientation:
    """The orientation by a display matrix: nine integers a b u c d v x y w; a point goes to (a p + c q, b p + d q)."""
    if matrix is None or len(matrix) < 36:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    if a and d and not b and not c:
        return Orientation(False, a < 0, d < 0)
    if b and c and not a and not d:
        return Orientation(True, c < 0, b < 0)
    return Orientation(known=not any((a, b, c, d)))

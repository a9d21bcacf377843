"""Colours to sRGB: ICC profiles and the gamma of PNG; notes about colours that are left as they are."""

import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageCms

from narrows.media.image.depth import Curve

GAMMA_TOLERANCE = 0.05  # relative to 1 / 2.2, which stands for sRGB
SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # x and y of white, red, green and blue
PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}  # ITU-T H.273; others are close to sRGB or rare
TRANSFERS = {8: "linear", 16: "PQ (HDR)", 18: "HLG (HDR)"}
NCLX = re.compile(rb"colrnclx\0(.)\0(.)", re.DOTALL)  # colours of AVIF and HEIF: primaries, transfer


def to_srgb(image: PILImage.Image, profile: bytes | None) -> PILImage.Image:
    """Colours converted from an embedded profile to sRGB; unchanged if the profile cannot be used.

    CIELab, which needs no profile, is always converted.
    """
    try:
        if image.mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        if image.mode == "LAB":
            raise
        return image
    return image if converted is None else converted


def gamma_curve(gamma: float) -> Curve | None:
    """The curve from samples, light to the power of `gamma`, to sRGB (IEC 61966-2-1); None if they are nearly sRGB."""
    if gamma <= 0 or abs(gamma * 2.2 - 1) <= GAMMA_TOLERANCE:
        return None

    def curve(fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        light = fractions ** (1 / gamma)
        return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)

    return curve


def note_of_code_points(primaries: int, transfer: int) -> tuple[str, ...]:
    """A note if colours with these code points (ITU-T H.273) are far from sRGB."""
    names = [table[code] for table, code in ((PRIMARIES, primaries), (TRANSFERS, transfer)) if code in table]
    return (f"colours are {' with '.join(names)}; they are read as if they were sRGB",) if names else ()


def note_of_primaries(chromaticity: tuple[float, ...]) -> tuple[str, ...]:
    """A note if the primaries of a PNG file (x and y of white, red, green and blue) are far from sRGB."""
    far = any(abs(a - b) > 0.01 for a, b in zip(chromaticity, SRGB_PRIMARIES, strict=False))
    return ("colours have other primaries than sRGB (cHRM); they are read as if they were sRGB",) if far else ()


def note_of_boxes(head: bytes) -> tuple[str, ...]:
    """A note on the colours of an AVIF or HEIF file, from its first bytes."""
    found = NCLX.search(head)
    return note_of_code_points(found[1][0], found[2][0]) if found else ()

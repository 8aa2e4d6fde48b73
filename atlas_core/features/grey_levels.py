"""Bringing grey levels of more than eight bits, and fractions, to the 0 … 255 that the image tower was trained on.

PIL's own conversion clips: all but the darkest of 16 bits becomes white, and fractions of one become black.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from atlas_core.errors import AtlasError

Scale = Literal["8 bits", "12 bits", "16 bits", "0 to 1"]
_SHIFTS = {"8 bits": 0, "12 bits": 4, "16 bits": 8}


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image has grey levels that do not fit into eight bits each."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def grey_scale(levels: npt.NDArray[Any]) -> Scale:
    """Which scale grey levels are on: the smallest of 8, 12 and 16 bits that holds them, or fractions of one.

    Files rarely say how many bits of a 16-bit container are used. Cameras and scanners with 12 bits are common, and
    an image of 16 bits that stays below 4096 would be all but black.

    Args:
        levels: Of one image, integers or floats.

    Raises:
        AtlasError: Negative levels, levels beyond 16 bits, or fractions beyond one: no scale is plain.
    """
    low, high = (float(levels.min()), float(levels.max())) if levels.size else (0.0, 0.0)
    whole = levels.dtype.kind in "iu" or bool(
        np.isfinite(levels).all() and (levels == np.round(levels)).all()
    )
    fractions = levels.dtype.kind == "f" and high <= 1.0
    if not (np.isfinite([low, high]).all() and low >= 0.0 and (fractions or (whole and high <= 65535))):
        raise AtlasError(
            f"grey levels from {low:g} to {high:g}",
            expected="whole levels of 8, 12 or 16 bits, or fractions from 0 to 1",
            fix="save the image with 8 bits, scaled as you mean it",
        )
    if fractions:
        return "0 to 1"
    return "8 bits" if high <= 255 else "12 bits" if high <= 4095 else "16 bits"


def eight_bit_grey(image: Image.Image) -> Image.Image:
    """A deep image in mode "L": each level on its scale (see `grey_scale`), to the nearest below 256.

    Raises:
        AtlasError: As `grey_scale`.
    """
    levels = np.asarray(image)
    scale = grey_scale(levels)
    if scale == "0 to 1":
        return Image.fromarray(np.round(levels * 255.0).astype(np.uint8))
    return Image.fromarray((levels.astype(np.uint16) >> _SHIFTS[scale]).astype(np.uint8))


def check_colour_depth(image: Image.Image, stored: str) -> None:
    """Refuse colours of 12 bits in a 16-bit file, of which PIL keeps the four highest.

    Args:
        image: The decoded image.
        stored: How the file stores its pixels ("RGB;16B"), from `stored_as` before decoding.

    Raises:
        AtlasError: All levels of such an image are below 16.
    """
    if ";16" not in stored or is_deep(image):
        return
    bands = [band for band in image.getbands() if band != "A"]
    highest = max(int(image.getchannel(band).getextrema()[1]) for band in bands)  # type: ignore[arg-type]
    if 0 < highest < 16:
        raise AtlasError(
            f"colours below {(highest + 1) << 8} of 65536, so that the image would be all but black",
            expected="colours of 8 bits, or of 16 bits in use",
            fix="save the image with 8 bits, scaled as you mean it",
        )


def stored_as(image: Image.Image) -> str:
    """How an image that is not yet decoded stores its pixels, in PIL's words ("RGB;16B")."""
    return " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))

"""RandAugment as CoPrompt applies it: two of sixteen operations at magnitude 10 of 30 (protocol section 1.1).

The operations and their ranges are those of Dassl, the toolbox that CoPrompt runs on; the draws come from the
caller's generator. torchvision's `RandAugment` is not used because its list differs (no cutout, no invert, no
solarise-add; relative translations).
"""

import math
from collections.abc import Callable
from random import Random
from typing import Final

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

Operation = Callable[[Image.Image, float, Random], Image.Image]

_MAX_MAGNITUDE: Final = 30
_CUTOUT_COLOUR: Final = (125, 123, 114)


def randaugment(
    image: Image.Image, generator: Random, operations: int = 2, magnitude: int = 10
) -> Image.Image:
    """`operations` drawn with replacement, each at `magnitude` / 30 of its range; signs are drawn evenly."""
    for _ in range(operations):
        operation, low, high = OPERATIONS[int(generator.random() * len(OPERATIONS))]
        image = operation(image, low + (high - low) * magnitude / _MAX_MAGNITUDE, generator)
    return image


def _signed(value: float, generator: Random) -> float:
    return -value if generator.random() > 0.5 else value


def _affine(image: Image.Image, matrix: tuple[float, float, float, float, float, float]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def _shear_x(image: Image.Image, value: float, generator: Random) -> Image.Image:
    return _affine(image, (1, _signed(value, generator), 0, 0, 1, 0))


def _shear_y(image: Image.Image, value: float, generator: Random) -> Image.Image:
    return _affine(image, (1, 0, 0, _signed(value, generator), 1, 0))


def _translate_x(image: Image.Image, value: float, generator: Random) -> Image.Image:
    return _affine(image, (1, 0, _signed(value, generator), 0, 1, 0))


def _translate_y(image: Image.Image, value: float, generator: Random) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, _signed(value, generator)))


def _rotate(image: Image.Image, value: float, generator: Random) -> Image.Image:
    return image.rotate(_signed(value, generator))


def _posterise(image: Image.Image, value: float, generator: Random) -> Image.Image:
    return ImageOps.posterize(image, int(value))


def _solarise(image: Image.Image, value: float, generator: Random) -> Image.Image:
    return ImageOps.solarize(image, math.ceil(value))  # levels below `value` stay


def _solarise_add(image: Image.Image, value: float, generator: Random) -> Image.Image:
    lighter = image.point([min(255, int(level + value)) for level in range(256)] * len(image.getbands()))
    return ImageOps.solarize(lighter, 128)


def _cutout(image: Image.Image, value: float, generator: Random) -> Image.Image:
    width, height = image.size
    # A square around an even draw of its centre, clipped to the image.
    left = int(max(0.0, generator.random() * width - value / 2))
    top = int(max(0.0, generator.random() * height - value / 2))
    cut = image.copy()
    box = (left, top, min(width, left + value), min(height, top + value))
    ImageDraw.Draw(cut).rectangle(box, _CUTOUT_COLOUR)
    return cut


def _plain(function: Callable[[Image.Image], Image.Image]) -> Operation:
    return lambda image, value, generator: function(image)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, value, generator: kind(image).enhance(value)


OPERATIONS: Final[tuple[tuple[Operation, float, float], ...]] = (
    (_plain(ImageOps.autocontrast), 0, 1),
    (_plain(ImageOps.equalize), 0, 1),
    (_plain(ImageOps.invert), 0, 1),
    (_rotate, 0, 30),
    (_posterise, 4, 8),
    (_solarise, 0, 256),
    (_solarise_add, 0, 110),
    (_enhance(ImageEnhance.Color), 0.1, 1.9),
    (_enhance(ImageEnhance.Contrast), 0.1, 1.9),
    (_enhance(ImageEnhance.Brightness), 0.1, 1.9),
    (_enhance(ImageEnhance.Sharpness), 0.1, 1.9),
    (_shear_x, 0, 0.3),
    (_shear_y, 0, 0.3),
    (_cutout, 0, 40),
    (_translate_x, 0, 100),
    (_translate_y, 0, 100),
)

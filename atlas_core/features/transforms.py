"""Image transforms of the published code, with every random draw tied to (image, view, seed).

Pixels stay uint8 `[3, H, W]` until `normalise`: exactly what torchvision's `ToTensor` would see, at a quarter
of the memory. Numbers and orders come from protocol section 2.4.
"""

import hashlib
import math
from random import Random
from typing import Final, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atlas_core.features.randaugment import randaugment
from atlas_core.features.resizing import STANDARD, ResizeMode, Resizing

Recipe = Literal["random_resized_crop", "randaugment", "test"]
RECIPES: Final = ("random_resized_crop", "randaugment", "test")

CROP_SCALE: Final = (0.08, 1.0)
CROP_RATIO: Final = (3 / 4, 4 / 3)
_CROP_ATTEMPTS: Final = 10
_FILTERS: Final = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def test_transform(
    image: Image.Image,
    image_size: int,
    resizing: Resizing = STANDARD,  # noqa: PT028 (no test)
) -> Tensor:
    """The square that a model sees of an RGB test image: uint8 `[3, image_size, image_size]`.

    Equal, pixel for pixel, to open_clip's test transform of the same `resizing` (open_clip/transform.py), which
    is torchvision's `Resize(size, BICUBIC)` + `CenterCrop(size)` for most models.
    """
    size = _resized(*image.size, image_size, resizing.mode)
    if size != image.size:
        image = image.resize(size, _FILTERS[resizing.interpolation])
    width, height = image.size
    if resizing.mode == "longest":
        padded = Image.new("RGB", (image_size, image_size), (resizing.fill,) * 3)
        padded.paste(image, ((image_size - width) // 2, (image_size - height) // 2))
        return _to_uint8(padded)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    return _to_uint8(image.crop((left, top, left + image_size, top + image_size)))


test_transform.__test__ = False  # type: ignore[attr-defined]  # the field's name, not a test to collect


def draw_view(
    image: Image.Image,
    item_key: str,
    view: int,
    seed: int,
    image_size: int,
    recipe: Recipe = "random_resized_crop",
    resizing: Resizing = STANDARD,
) -> Tensor:
    """One augmented view of an RGB image: uint8 `[3, image_size, image_size]`.

    The draw depends on (`item_key`, `view`, `seed`) and on nothing else, so a bank of views is the same
    whatever the batch size, the order or the number of workers.

    Args:
        item_key: What names the image for good: its path relative to the dataset's folder.
        recipe: `random_resized_crop` (crop of 8-100 % of the area, then a flip half of the time),
            `randaugment` (CoPrompt: squashed to a square, no crop and no flip, then two operations) or
            `test` (no draw at all).
        resizing: Of `test`. The other two are the published procedures', bicubic whatever the model (open_clip's
            own training crops are, too).
    """
    if recipe == "test":
        return test_transform(image, image_size, resizing)
    generator = view_generator(item_key, view, seed)
    if recipe == "randaugment":
        squashed = image.resize((image_size, image_size), Image.Resampling.BICUBIC)
        return _to_uint8(randaugment(squashed, generator))
    left, top, width, height = draw_crop(generator, *image.size)
    crop = image.crop((left, top, left + width, top + height))
    if crop.size != (image_size, image_size):
        crop = crop.resize((image_size, image_size), Image.Resampling.BICUBIC)
    if generator.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _to_uint8(crop)


def view_generator(item_key: str, view: int, seed: int) -> Random:
    """The generator of one view's draws. Only its `random()` is used, which Python keeps stable for good."""
    digest = hashlib.sha256(f"{seed}\0{view}\0{item_key}".encode()).digest()
    return Random(int.from_bytes(digest[:16], "big"))


def draw_crop(generator: Random, width: int, height: int) -> tuple[int, int, int, int]:
    """A crop (left, top, width, height) with the distribution of torchvision's `RandomResizedCrop`.

    Area uniform in `CROP_SCALE` of the image's, aspect ratio log-uniform in `CROP_RATIO`; after ten draws
    that do not fit, the largest central crop whose ratio is allowed.
    """
    low, high = math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])
    for _ in range(_CROP_ATTEMPTS):
        area = width * height * (CROP_SCALE[0] + (CROP_SCALE[1] - CROP_SCALE[0]) * generator.random())
        ratio = math.exp(low + (high - low) * generator.random())
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(generator.random() * (height - crop_height + 1))
            left = int(generator.random() * (width - crop_width + 1))
            return left, top, crop_width, crop_height
    crop_width, crop_height = width, height
    if width / height < CROP_RATIO[0]:
        crop_height = round(width / CROP_RATIO[0])
    elif width / height > CROP_RATIO[1]:
        crop_width = round(height * CROP_RATIO[1])
    return (width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 `[..., 3, H, W]` to float32, scaled to [0, 1], less the channel mean, over its deviation."""
    scale = pixels.to(torch.float32).div_(255)
    shape = (len(mean), 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32, device=pixels.device).view(shape)
    spread = torch.tensor(std, dtype=torch.float32, device=pixels.device).view(shape)
    return scale.sub_(centre).div_(spread)


def _resized(width: int, height: int, image_size: int, mode: ResizeMode) -> tuple[int, int]:
    """Width and height after resizing, rounded as torchvision ("shortest") and open_clip ("longest") do."""
    short, long = sorted((width, height))
    if mode == "squash":
        return image_size, image_size
    if mode == "longest":
        ratio = long / image_size
        # At least a pixel: open_clip fails on an image so thin that none would be left.
        return max(1, round(width / ratio)), max(1, round(height / ratio))
    resized_long = int(image_size * long / short)
    return (image_size, resized_long) if width <= height else (resized_long, image_size)


def _to_uint8(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()

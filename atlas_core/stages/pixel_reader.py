"""Batches of normalised pixels from a pixels artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.hardware import copied
from atlas_core.features.pixels import read_pixels
from atlas_core.features.transforms import normalise

PIXELS_FOLDER = "pixels"


def pixel_reader(folder: Path, clip: FrozenClip) -> Callable[[Tensor, Tensor], Tensor]:
    """A function from (rows [B], views [B]) to normalised pixels [B, 3, H, W] on the model's device."""
    table = read_pixels(folder / PIXELS_FOLDER)

    def read(rows: Tensor, views: Tensor) -> Tensor:
        pixels = table.batch(rows.cpu().numpy(), views.cpu().numpy())
        return normalise(copied(pixels, clip.device), clip.mean, clip.std)

    return read

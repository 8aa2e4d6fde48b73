"""Batches of normalised pixels from a pixels artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.hardware import copied
from atlas_core.features.pixels import read_pixels
from atlas_core.features.transforms import normalise
from atlas_core.stages.image_inputs import ImageInput
from atlas_core.stages.items_table import read_items

PIXELS_FOLDER = "pixels"
_CHUNK = 100  # the published test batch (protocol 1.0)


def pixel_reader(folder: Path, clip: FrozenClip) -> Callable[[Tensor, Tensor], Tensor]:
    """A function from (rows [B], views [B]) to normalised pixels [B, 3, H, W] on the model's device."""
    table = read_pixels(folder / PIXELS_FOLDER)

    def read(rows: Tensor, views: Tensor) -> Tensor:
        pixels = table.batch(rows.cpu().numpy(), views.cpu().numpy())
        return normalise(copied(pixels, clip.device), clip.mean, clip.std)

    return read


def _training_pixels(inputs: Mapping[str, Path], clip: FrozenClip) -> Callable[[Tensor, Tensor], Tensor]:
    return pixel_reader(inputs["pixels"], clip)


def _test_chunks(inputs: Mapping[str, Path], clip: FrozenClip) -> Iterator[Tensor]:
    read = pixel_reader(inputs["pixels"], clip)
    n = read_items(inputs["pixels"]).num_rows
    for start in range(0, n, _CHUNK):
        rows = torch.arange(start, min(n, start + _CHUNK))
        yield read(rows, torch.zeros_like(rows))


PIXELS = ImageInput("pixels", _training_pixels, _test_chunks)

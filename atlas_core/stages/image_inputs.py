"""What a method reads of the images, cached features or pixels; each in a module that no other run depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from atlas_core.backbone.clip import FrozenClip


@dataclass(frozen=True)
class ImageInput:
    """How images reach a method.

    Attributes:
        role: The input artifact that has them.
        training_pixels: From a run's inputs to a function of (rows [B], views [B]) that gives pixels [B, 3, H, W];
            None where the method does without.
        test_chunks: From an evaluation's inputs to what the predictor takes, in the order of the test images.
    """

    role: str
    training_pixels: Callable[[Mapping[str, Path], FrozenClip], Callable[[Tensor, Tensor], Tensor] | None]
    test_chunks: Callable[[Mapping[str, Path], FrozenClip], Iterator[Tensor]]


IMAGE_INPUTS: Registry[ImageInput] = Registry("image input", "atlas.image_inputs")
IMAGE_INPUTS.add_lazy(
    "features", "atlas_core.stages.feature_reader:FEATURES", "features of the frozen image tower"
)
IMAGE_INPUTS.add_lazy("pixels", "atlas_core.stages.pixel_reader:PIXELS", "decoded and resized images")

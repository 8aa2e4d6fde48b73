"""What was understood of the backbone: the very values that its towers and transforms are made with."""

from __future__ import annotations

from dataclasses import dataclass

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.conventions import conventions
from atlas_core.backbone.source import backbone_label, input_size

_MODES = {
    "shortest": "short edge to {size} pixels ({filter}), then the central square",
    "longest": "long edge to {size} pixels ({filter}), padded to a square with level {fill}",
    "squash": "both edges to {size} pixels ({filter}), whatever the shape",
}


@dataclass(frozen=True)
class BackboneUnderstanding:
    """What decides how a backbone sees images and texts.

    Attributes:
        name: As in tables ("ViT-B-16-quickgelu/openai").
        activation: "QuickGELU" or "GELU".
        mean, std: Of the pixels, a channel each.
        resizing: How a test image becomes the square that the image tower takes.
    """

    name: str
    activation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resizing: str


def understand_backbone(cfg: BackboneConfig) -> BackboneUnderstanding:
    """The conventions of a configuration's weights, in words.

    Raises:
        AtlasError: The configuration names no weights that there are, or nothing tells which conventions they keep.
    """
    found = conventions(cfg)
    pixels = found.pixels
    resizing = _MODES[pixels.resizing.mode].format(
        size=input_size(cfg.model), filter=pixels.resizing.interpolation, fill=pixels.resizing.fill
    )
    activation = "QuickGELU" if found.quick_gelu else "GELU"
    return BackboneUnderstanding(backbone_label(cfg), activation, pixels.mean, pixels.std, resizing)

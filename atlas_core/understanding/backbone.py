"""What was understood of the backbone: the very values that its towers and transforms are made with."""

from __future__ import annotations

from dataclasses import dataclass

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.source import backbone_label, input_size, model_config, pixel_normalisation


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
    """The facts of a configuration, asked of what loads it.

    Raises:
        AtlasError: The configuration names no weights that there are.
    """
    mean, std = pixel_normalisation(cfg)
    quick = bool(model_config(cfg.model).get("quick_gelu", False))
    size = input_size(cfg.model)
    resizing = f"short edge to {size} pixels (bicubic), then the central square"
    return BackboneUnderstanding(backbone_label(cfg), "QuickGELU" if quick else "GELU", mean, std, resizing)

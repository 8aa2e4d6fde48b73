"""What decides a backbone's features, for keys."""

from __future__ import annotations

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.conventions import conventions
from atlas_core.backbone.source import (
    check_has_weights,
    is_config_file,
    known_tag,
    model_config,
    weights_file,
    weights_sha256,
)
from atlas_core.backbone.tower_kinds import check_text_tower
from atlas_core.features.resizing import STANDARD
from atlas_core.hashing import sha256_of


def backbone_identity(cfg: BackboneConfig) -> dict[str, str]:
    """What decides a backbone's features: never a path or the device.

    Returns:
        "precision", and "compiled" where it is; "pixels" (mean and std of the input, and how it is resized where
        that is not as usual); "model" (open_clip name) or "model_sha256" (of the architecture in a config file);
        "activation" where it is not the model's own; and "pretrained" (the tag) or "weights_sha256".
    """
    check_has_weights(cfg)
    config = model_config(cfg.model)
    check_text_tower(cfg.model, config)
    kept = conventions(cfg)
    pixels = f"{kept.pixels.mean} {kept.pixels.std}"
    if kept.pixels.resizing != STANDARD:
        pixels += f" {kept.pixels.resizing}"
    identity: dict[str, str] = {"precision": cfg.precision, "pixels": pixels}
    if cfg.compile:
        identity["compiled"] = "image tower"
    if is_config_file(cfg.model):
        identity["model_sha256"] = sha256_of(config)
    else:
        identity["model"] = cfg.model
    if kept.quick_gelu != bool(config.get("quick_gelu", False)):
        identity["activation"] = "quick_gelu" if kept.quick_gelu else "gelu"
    weights = weights_file(cfg)
    if weights is not None:
        identity["weights_sha256"] = weights_sha256(weights)
    else:
        identity["pretrained"] = known_tag(cfg.model, cfg.pretrained)
    return identity

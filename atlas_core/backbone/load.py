"""Open a frozen CLIP model by name or from files."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.tokenizer import HFTokenizer
from torch import nn

from atlas_core.backbone.clip import FrozenClip, Tokenizer, freeze
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.conventions import Conventions, conventions
from atlas_core.backbone.hardware import check_precision, resolve_device
from atlas_core.backbone.identity import backbone_identity
from atlas_core.backbone.precision import DTYPES
from atlas_core.backbone.source import (
    check_has_weights,
    file_stamp,
    input_size,
    known_tag,
    model_config,
    weights_file,
)
from atlas_core.backbone.text_tower import extract_text_tower
from atlas_core.backbone.tower_kinds import check_text_tower
from atlas_core.backbone.weights import load_weights
from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of

__all__ = ["backbone_identity", "input_size", "load_backbone"]


# A model of so many parameters takes 1 GiB: below it, reading the file tells better what is wrong with it.
_MODEST = 1 << 28


def load_backbone(cfg: BackboneConfig, device: str = "auto") -> FrozenClip:
    """The frozen model of a configuration; loaded once in a process and device, whatever asks for it.

    Args:
        device: "auto" (CUDA where there is one, else the CPU) or a torch device.

    Raises:
        AtlasError: An unknown model or tag, weights that cannot be had or do not fit, an architecture that
            cannot be prompted, or a precision or device that this machine lacks.
    """
    where = resolve_device(device)
    check_precision(cfg.precision, where)
    check_has_weights(cfg)
    check_text_tower(cfg.model, model_config(cfg.model))
    kept = conventions(cfg)
    weights = weights_file(cfg)
    stamp = None if weights is None else file_stamp(weights)
    return _load(cfg, sha256_of(model_config(cfg.model)), kept, stamp, str(where))


@lru_cache(maxsize=4)
def _load(
    cfg: BackboneConfig,
    config_digest: str,
    kept: Conventions,
    stamp: tuple[Path, int, int] | None,
    device: str,
) -> FrozenClip:
    config = {**model_config(cfg.model), "quick_gelu": kept.quick_gelu}
    parameters = _check_architecture(cfg.model, config)
    weights = weights_file(cfg) or _download(cfg)
    _check_size(cfg.model, parameters, weights)
    model = build_model(cfg.model, config)
    load_weights(model, weights)
    clip = freeze(
        model.eval().requires_grad_(False),
        _tokenizer(cfg.model, config),
        mean=kept.pixels.mean,
        std=kept.pixels.std,
        resizing=kept.pixels.resizing,
        dtype=DTYPES[cfg.precision],
        device=device,
    )
    return replace(clip, image=replace(clip.image_tower(), compiled=True)) if cfg.compile else clip


def _check_architecture(name: str, config: dict[str, Any]) -> int:
    """Refuse a text tower that no method can prompt, before anything is downloaded or filled.

    Returns:
        The model's number of parameters.
    """
    with torch.device("meta"):
        model = build_model(name, config)
    extract_text_tower(model, torch.float32, torch.device("meta"))
    return sum(parameter.numel() for parameter in model.parameters())


def _check_size(name: str, parameters: int, weights: Path) -> None:
    """Refuse a file that cannot hold the weights, before much memory is taken for a model that nothing fills."""
    size = weights.stat().st_size
    if size < parameters and parameters > _MODEST:
        raise AtlasError(
            f"weights file {weights.name} has {size:,} bytes for the {parameters:,} parameters of model {name!r}",
            expected="the weights of exactly this architecture, at least a byte for each",
            fix="set `backbone.model` to the model that the weights were trained as, or fetch the whole file",
        )


def build_model(name: str, config: dict[str, Any]) -> nn.Module:
    """The randomly initialised float32 open_clip model of a config."""
    config = deepcopy(config)
    check_text_tower(name, config)
    vision = config.get("vision_cfg", {})
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    model_class = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    try:
        model: nn.Module = model_class(**config)
    except Exception as error:  # open_clip, torch and timm answer a config that is wrong with many kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise AtlasError(
            f"open_clip cannot build backbone {name!r} ({reason})",
            expected="an open_clip model config",
            fix="correct the model-config JSON",
        ) from error
    return model


def _tokenizer(name: str, config: dict[str, Any]) -> Tokenizer:
    text = config["text_cfg"]
    context_length = text.get("context_length", 77)
    source = text.get("hf_tokenizer_name")
    if not source:
        return _simple_tokenizer(name, context_length, text.get("tokenizer_kwargs") or {})
    try:
        tokenizer: Tokenizer = HFTokenizer(
            source,
            context_length=context_length,
            tokenizer_mode=text.get("tokenizer_mode"),
            **(text.get("tokenizer_kwargs") or {}),
        )
    except Exception as error:  # the hub client and its transports raise many kinds
        raise AtlasError(
            f"the tokenizer {source!r} of backbone {name!r} cannot be loaded ({type(error).__name__})",
            expected="a reachable Hugging Face hub, or the tokenizer in its cache",
            fix="fetch it where there is a network, or choose a model with CLIP's own tokenizer",
        ) from error
    _check_placeholder(name, source, tokenizer)
    return tokenizer


def _check_placeholder(name: str, source: str, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that has not one token for each "X", which hold the places of context vectors."""
    one, five = (tokenizer([" ".join("X" * count)]) for count in (1, 5))
    lengths = [int((row != row[:, -1:]).sum()) for row in (one, five)]  # the rest is padding
    if lengths[1] - lengths[0] != 4:
        raise AtlasError(
            f"the tokenizer {source!r} of backbone {name!r} takes the letter X apart",
            expected="one token for it, as a context vector has its place",
            fix="choose a model with CLIP's own tokenizer",
        )


def _simple_tokenizer(name: str, context_length: int, options: dict[str, Any]) -> Tokenizer:
    try:
        tokenizer: Tokenizer = open_clip.SimpleTokenizer(context_length=context_length, **options)
    except Exception as error:  # whatever an option of another kind leads to
        raise AtlasError(
            f"CLIP's tokenizer cannot be made for backbone {name!r} ({type(error).__name__}: {error})",
            expected="the options of open_clip's SimpleTokenizer under text_cfg.tokenizer_kwargs",
            fix="correct the model-config JSON",
        ) from error
    return tokenizer


def _download(cfg: BackboneConfig) -> Path:
    tag = known_tag(cfg.model, cfg.pretrained)
    try:
        return Path(download_pretrained(get_pretrained_cfg(cfg.model, tag)))
    except Exception as error:  # the hub client and its transports raise many kinds
        reason = str(error).strip().partition("\n")[0]
        raise AtlasError(
            f"the weights {cfg.pretrained!r} of backbone {cfg.model!r} cannot be downloaded"
            f" ({type(error).__name__}: {reason})",
            expected="a reachable model hub, or the weights in its cache",
            fix="fetch the weights where there is a network and set `backbone.weights` to the local file"
            f" (.safetensors or .pt), with `backbone.model: {cfg.model}` and `backbone.pretrained: {tag}`",
        ) from error

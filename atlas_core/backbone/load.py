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
from torch import nn

from atlas_core.backbone.clip import FrozenClip, Tokenizer, freeze
from atlas_core.backbone.config import BackboneConfig, Precision
from atlas_core.backbone.hardware import check_precision, resolve_device
from atlas_core.backbone.source import (
    backbone_identity,
    check_source,
    file_stamp,
    input_size,
    known_tag,
    model_config,
    pixel_normalisation,
    weights_file,
)
from atlas_core.backbone.text_tower import extract_text_tower
from atlas_core.backbone.weights import load_weights
from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of

__all__ = ["backbone_identity", "input_size", "load_backbone"]

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    config = model_config(cfg.model)
    check_source(cfg)
    weights = weights_file(cfg)
    stamp = None if weights is None else file_stamp(weights)
    return _load(cfg, sha256_of([config, pixel_normalisation(cfg)]), stamp, str(where))


@lru_cache(maxsize=4)
def _load(
    cfg: BackboneConfig, config_digest: str, stamp: tuple[Path, int, int] | None, device: str
) -> FrozenClip:
    config = model_config(cfg.model)
    _check_architecture(cfg.model, config)
    weights = weights_file(cfg) or _download(cfg)
    mean, std = pixel_normalisation(cfg)
    model = build_model(cfg.model, config)
    load_weights(model, weights)
    clip = freeze(
        model.eval().requires_grad_(False),
        _tokenizer(cfg.model, config),
        mean=mean,
        std=std,
        dtype=_DTYPES[cfg.precision],
        device=device,
    )
    return replace(clip, image=replace(clip.image_tower(), compiled=True)) if cfg.compile else clip


def _check_architecture(name: str, config: dict[str, Any]) -> None:
    """Refuse a text tower that no method can prompt, before anything is downloaded or filled."""
    with torch.device("meta"):
        model = build_model(name, config)
    extract_text_tower(model, torch.float32, torch.device("meta"))


def build_model(name: str, config: dict[str, Any]) -> nn.Module:
    """The randomly initialised float32 open_clip model of a config."""
    config = deepcopy(config)
    text, vision = config.get("text_cfg", {}), config.get("vision_cfg", {})
    if "multimodal_cfg" in config or text.get("hf_model_name"):
        kind = "a caption decoder" if "multimodal_cfg" in config else "a Hugging Face text model"
        raise AtlasError(
            f"backbone {name!r} has {kind}, which cannot be prompted",
            expected="CLIP's causal text transformer",
            fix="choose another open_clip model, such as 'ViT-B-16-quickgelu'; no method works with this one",
        )
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    model_class = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    try:
        model: nn.Module = model_class(**config)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise AtlasError(
            f"open_clip cannot build backbone {name!r} ({error})",
            expected="an open_clip model config",
            fix="correct the model-config JSON",
        ) from error
    return model


def _tokenizer(name: str, config: dict[str, Any]) -> Tokenizer:
    text = config["text_cfg"]
    context_length = text.get("context_length", 77)
    source = text.get("hf_tokenizer_name")
    if not source:
        simple: Tokenizer = open_clip.SimpleTokenizer(
            context_length=context_length, **(text.get("tokenizer_kwargs") or {})
        )
        return simple
    try:
        tokenizer: Tokenizer = open_clip.HFTokenizer(
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
            f" (.safetensors or .pt), with `backbone.model: {cfg.model}`",
        ) from error

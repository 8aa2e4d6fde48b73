"""Open a CLIP model by name or from files, and say which one it is."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from torch import nn

from atlas_core.backbone.clip import FrozenClip, Tokenizer, freeze
from atlas_core.backbone.config import BackboneConfig, Precision
from atlas_core.backbone.weights import load_weights
from atlas_core.errors import AtlasError
from atlas_core.hashing import file_sha256, sha256_of
from atlas_core.registry import unknown_name
from atlas_core.resources import data_path

DEMO = "demo"

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Flags of /proc/cpuinfo (x86, then Arm) of a CPU that computes in that format.
_NATIVE = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "fp16": frozenset({"avx512_fp16", "amx_fp16", "fphp"}),
}


def load_backbone(cfg: BackboneConfig) -> FrozenClip:
    """The frozen model of a configuration; loaded once a process, whatever asks for it.

    Raises:
        AtlasError: An unknown model or tag, weights that cannot be had or do not fit, an architecture that
            cannot be prompted, or a precision or device that this machine lacks.
    """
    device = resolve_device(cfg.device)
    _check_precision(cfg.precision, device)
    config = model_config(cfg.model)
    _check_source(cfg)
    weights = weights_file(cfg)
    stamp = None if weights is None else _stamp(weights)
    return _load(cfg, sha256_of(config), stamp, str(device))


def backbone_identity(cfg: BackboneConfig) -> dict[str, str]:
    """What decides a backbone's features, for keys: never a path or the device.

    Returns:
        "precision"; "model" (open_clip name or "demo") or "model_sha256" (of a config file's content); and
        "pretrained" (the tag) or "weights_sha256".
    """
    _check_source(cfg)
    identity: dict[str, str] = {"precision": cfg.precision}
    if _is_config_file(cfg.model):
        identity["model_sha256"] = sha256_of(model_config(cfg.model))
    else:
        identity["model"] = cfg.model
    weights = weights_file(cfg)
    if weights is not None:
        identity["weights_sha256"] = _weights_sha256(*_stamp(weights))
    else:
        identity["pretrained"] = _known_tag(cfg.model, cfg.pretrained)
    return identity


def model_config(model: str) -> dict[str, Any]:
    """The open_clip model config (embed_dim, vision_cfg, text_cfg, …) of a name or JSON path.

    Raises:
        AtlasError: An unknown name, or a file that is no model config.
    """
    if _is_config_file(model):
        return _read_config(data_path("demo", "demo_clip.json") if model == DEMO else Path(model))
    known = open_clip.list_models()
    if model not in known:
        raise unknown_name("backbone", model, [DEMO, *known])
    config: dict[str, Any] = deepcopy(open_clip.get_model_config(model))
    return config


def input_size(model: str) -> int:
    """Side of a model's square input in pixels, from its config."""
    size = model_config(model)["vision_cfg"].get("image_size", 224)
    return int(size[0]) if isinstance(size, (list, tuple)) else int(size)


def weights_file(cfg: BackboneConfig) -> Path | None:
    """The local weights file of a configuration, or None where a pretrained tag names the weights."""
    if cfg.weights is not None:
        return cfg.weights
    return data_path("demo", "demo_clip.safetensors") if cfg.model == DEMO else None


def resolve_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda", "cuda:1", "mps", ….

    Raises:
        AtlasError: No such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise AtlasError(
            f"device {name!r} is not available here ({str(error).partition(chr(10))[0]})",
            expected='"auto", "cpu", or a device that torch sees',
            fix="set `backbone.device: auto`",
        ) from error
    return device


@lru_cache(maxsize=4)
def _load(
    cfg: BackboneConfig, config_digest: str, stamp: tuple[Path, int, int] | None, device: str
) -> FrozenClip:
    config = model_config(cfg.model)
    weights = weights_file(cfg)
    preprocess = {} if weights is not None else get_pretrained_cfg(cfg.model, cfg.pretrained)
    if weights is None:
        weights = _download(cfg, preprocess)
    model = _build(cfg.model, config)
    load_weights(model, weights)
    return freeze(
        model.eval().requires_grad_(False),
        _tokenizer(cfg.model, config),
        mean=preprocess.get("mean") or OPENAI_DATASET_MEAN,
        std=preprocess.get("std") or OPENAI_DATASET_STD,
        dtype=_DTYPES[cfg.precision],
        device=device,
    )


def _build(name: str, config: dict[str, Any]) -> nn.Module:
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


def _download(cfg: BackboneConfig, preprocess: dict[str, Any]) -> Path:
    try:
        return Path(download_pretrained(preprocess))
    except Exception as error:  # the hub client and its transports raise many kinds
        reason = str(error).strip().partition("\n")[0]
        raise AtlasError(
            f"the weights {cfg.pretrained!r} of backbone {cfg.model!r} cannot be downloaded"
            f" ({type(error).__name__}: {reason})",
            expected="a reachable model hub, or the weights in its cache",
            fix="fetch the weights where there is a network and set `backbone.weights` to the local file"
            f" (.safetensors or .pt), with `backbone.model: {cfg.model}`",
        ) from error


def _check_source(cfg: BackboneConfig) -> None:
    """Refuse a configuration that names no weights, or weights of the other activation."""
    if weights_file(cfg) is not None:
        return
    if _is_config_file(cfg.model):
        raise AtlasError(
            f"backbone config {cfg.model} comes without weights",
            expected="a local weights file beside a config file",
            fix="set `backbone.weights`",
        )
    model_config(cfg.model)
    tag = _known_tag(cfg.model, cfg.pretrained)
    quick = bool(get_pretrained_cfg(cfg.model, tag).get("quick_gelu", False))
    if quick != bool(model_config(cfg.model).get("quick_gelu", False)):
        other = f"{cfg.model}-quickgelu" if quick else cfg.model.removesuffix("-quickgelu")
        trained = f"the weights {tag!r} were trained {'with' if quick else 'without'} QuickGELU"
        raise AtlasError(
            f"{trained}, unlike model {cfg.model!r}",
            expected="the activation that the weights were trained with",
            fix=f"set `backbone.model: {other}`",
        )


def _known_tag(model: str, tag: str | None) -> str:
    known = list_pretrained_tags_by_model(model)
    if tag is None:
        raise AtlasError(
            f"backbone {model!r} has no weights",
            expected=f"a pretrained tag ({', '.join(known)})" if known else "a local weights file",
            fix="set `backbone.pretrained` or `backbone.weights`",
        )
    clean = tag.lower().replace("-", "_")
    if clean not in known:
        raise unknown_name(f"pretrained tag of {model}", tag, known)
    return clean


def _check_precision(precision: Precision, device: torch.device) -> None:
    if precision == "fp32" or device.type != "cpu" or _cpu_flags() & _NATIVE[precision]:
        return
    raise AtlasError(
        f"precision {precision} on a CPU without {precision} units (measured 28 times slower than fp32)",
        expected="fp32 on this CPU, or a GPU",
        fix="set `backbone.precision: fp32`",
    )


@lru_cache(maxsize=1)
def _cpu_flags() -> frozenset[str]:
    """What the CPU can do, as Linux names it; empty where that cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, flags=re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()


def _is_config_file(model: str) -> bool:
    return model == DEMO or model.endswith(".json")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AtlasError(
            f"backbone config {path} cannot be read ({error})",
            expected="an open_clip model-config JSON",
            fix="correct `backbone.model`",
        ) from error
    config = content.get("model_cfg", content) if isinstance(content, dict) else {}
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise AtlasError(
            f"backbone config {path} lacks {', '.join(missing)}",
            expected="an open_clip model config with embed_dim, vision_cfg and text_cfg",
            fix="copy one of open_clip's model_configs and change it",
        )
    return dict(config)


def _stamp(path: Path) -> tuple[Path, int, int]:
    """A file's path, size and time: the hash is computed again when one of them changes."""
    try:
        status = path.stat()
    except OSError as error:
        raise AtlasError(
            f"weights file {path} does not exist",
            expected="a .safetensors, .pt, .pth or .bin file",
            fix="correct `backbone.weights`",
        ) from error
    return path.resolve(), status.st_size, status.st_mtime_ns


@lru_cache(maxsize=16)
def _weights_sha256(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)

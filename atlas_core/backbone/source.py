"""Which model a configuration names: its architecture, its weights, and what of them enters keys."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from atlas_core.backbone.architecture import check_model_config
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.known_models import known_models
from atlas_core.documents import parse_json, read_text
from atlas_core.errors import AtlasError
from atlas_core.hashing import file_sha256, sha256_of
from atlas_core.registry import unknown_name
from atlas_core.resources import data_path

DEMO = "demo"

# open_clip's OPENAI_DATASET_MEAN and _STD.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def backbone_identity(cfg: BackboneConfig) -> dict[str, str]:
    """What decides a backbone's features, for keys: never a path or the device.

    Returns:
        "precision", and "compiled" where it is; "pixels" (mean and std of the input); "model" (open_clip name) or
        "model_sha256" (of the architecture in a config file); and "pretrained" (the tag) or "weights_sha256".
    """
    check_source(cfg)
    mean, std = pixel_normalisation(cfg)
    identity: dict[str, str] = {"precision": cfg.precision, "pixels": f"{mean} {std}"}
    if cfg.compile:
        identity["compiled"] = "image tower"
    if _is_config_file(cfg.model):
        identity["model_sha256"] = sha256_of(model_config(cfg.model))
    else:
        identity["model"] = cfg.model
    weights = weights_file(cfg)
    if weights is not None:
        identity["weights_sha256"] = _weights_sha256(*file_stamp(weights))
    else:
        identity["pretrained"] = known_tag(cfg.model, cfg.pretrained)
    return identity


def model_config(model: str) -> dict[str, Any]:
    """The open_clip model config (embed_dim, vision_cfg, text_cfg, …) of a name or JSON path.

    Raises:
        AtlasError: An unknown name, or a file that is no model config.
    """
    if _is_config_file(model):
        content = _read_config(_config_file(model))
        return dict(content.get("model_cfg", content))
    known = known_models().configs
    if model not in known:
        raise unknown_name("backbone", model, [DEMO, *known])
    return deepcopy(known[model])


def pixel_normalisation(cfg: BackboneConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std per channel of the input that the weights were trained on.

    A config file may say it ("preprocess_cfg"); a pretrained tag does; for other weights of a named model
    it is what all tags of that model agree on. OpenAI's values otherwise.
    """
    if _is_config_file(cfg.model):
        said = [_read_config(_config_file(cfg.model)).get("preprocess_cfg", {})]
    elif cfg.weights is None:
        said = [_tag_config(cfg.model, known_tag(cfg.model, cfg.pretrained))]
    else:
        said = [_tag_config(cfg.model, tag) for tag in _tags(cfg.model)] or [{}]
    found = {
        (_channels(each.get("mean"), OPENAI_MEAN), _channels(each.get("std"), OPENAI_STD)) for each in said
    }
    return found.pop() if len(found) == 1 else (OPENAI_MEAN, OPENAI_STD)


def _channels(values: Sequence[float] | float | None, otherwise: Sequence[float]) -> tuple[float, ...]:
    if isinstance(values, (int, float)):
        return (float(values),) * 3
    return tuple(float(each) for each in (values or otherwise))


def backbone_label(cfg: BackboneConfig) -> str:
    """A configuration's name in tables: "demo", "ViT-B-16-quickgelu/openai", "ViT-B-32/my_weights"."""
    model = Path(cfg.model).stem if _is_config_file(cfg.model) else cfg.model
    weights = cfg.weights.stem if cfg.weights is not None else "" if cfg.model == DEMO else cfg.pretrained
    return f"{model}/{weights}" if weights else model


def input_size(model: str) -> int:
    """Side of a model's square input in pixels, from its config."""
    size = model_config(model)["vision_cfg"].get("image_size", 224)
    return int(size[0]) if isinstance(size, (list, tuple)) else int(size)


def weights_file(cfg: BackboneConfig) -> Path | None:
    """The local weights file of a configuration, or None where a pretrained tag names the weights."""
    if cfg.weights is not None:
        return cfg.weights
    return data_path("demo", "demo_clip.safetensors") if cfg.model == DEMO else None


def check_source(cfg: BackboneConfig) -> None:
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
    tag = known_tag(cfg.model, cfg.pretrained)
    quick = bool(_tag_config(cfg.model, tag).get("quick_gelu", False))
    if quick != bool(model_config(cfg.model).get("quick_gelu", False)):
        other = f"{cfg.model}-quickgelu" if quick else cfg.model.removesuffix("-quickgelu")
        trained = f"the weights {tag!r} were trained {'with' if quick else 'without'} QuickGELU"
        raise AtlasError(
            f"{trained}, unlike model {cfg.model!r}",
            expected="the activation that the weights were trained with",
            fix=f"set `backbone.model: {other}`",
        )


def known_tag(model: str, tag: str | None) -> str:
    known = _tags(model)
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


def _tags(model: str) -> list[str]:
    return list(known_models().weights.get(model, {}))


def _tag_config(model: str, tag: str) -> dict[str, Any]:
    return dict(known_models().weights.get(model, {}).get(tag, {}))


def _is_config_file(model: str) -> bool:
    return model == DEMO or model.endswith(".json")


def _config_file(model: str) -> Path:
    return data_path("demo", "demo_clip.json") if model == DEMO else Path(model)


def _read_config(path: Path) -> dict[str, Any]:
    """An open_clip model config, or the hub's form of it with "model_cfg" and "preprocess_cfg"."""
    try:
        content = parse_json(read_text(path), f"backbone config {path}")
    except (OSError, ValueError) as error:
        raise AtlasError(
            f"backbone config {path} cannot be read ({error})",
            expected="an open_clip model-config JSON",
            fix="correct `backbone.model`",
        ) from error
    config = content.get("model_cfg", content) if isinstance(content, dict) else {}
    config = config if isinstance(config, dict) else {}
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise AtlasError(
            f"backbone config {path} lacks {', '.join(missing)}",
            expected="an open_clip model config with embed_dim, vision_cfg and text_cfg",
            fix="copy one of open_clip's model_configs and change it",
        )
    check_model_config(content, f"backbone config {path}")
    return dict(content)


def file_stamp(path: Path) -> tuple[Path, int, int]:
    """A file's path, size and time: the hash is computed again when one of them changes."""
    try:
        status = path.stat()
        if not path.is_file():
            raise IsADirectoryError(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise AtlasError(
            f"weights file {path} does not exist or is no file",
            expected="a .safetensors, .pt, .pth or .bin file",
            fix="correct `backbone.weights`",
        ) from error
    return path.resolve(), status.st_size, status.st_mtime_ns


@lru_cache(maxsize=16)
def _weights_sha256(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)

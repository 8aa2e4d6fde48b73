"""Which model a configuration names: its architecture and its weights."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from atlas_core.backbone.architecture import check_model_config
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.known_models import known_models
from atlas_core.documents import parse_json, read_text
from atlas_core.errors import AtlasError
from atlas_core.hashing import file_sha256
from atlas_core.registry import unknown_name
from atlas_core.resources import data_path

DEMO = "demo"

# open_clip's OPENAI_DATASET_MEAN and _STD.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def model_config(model: str) -> dict[str, Any]:
    """The open_clip model config (embed_dim, vision_cfg, text_cfg, …) of a name or JSON path.

    Raises:
        AtlasError: An unknown name, or a file that is no model config.
    """
    if is_config_file(model):
        content = config_file_content(model)
        return dict(content.get("model_cfg", content))
    known = known_models().configs
    if model not in known:
        raise unknown_name("backbone", model, [DEMO, *known])
    return deepcopy(known[model])


def backbone_label(cfg: BackboneConfig) -> str:
    """A configuration's name in tables: "demo", "ViT-B-16-quickgelu/openai", "ViT-B-32/my_weights/gelu"."""
    model = Path(cfg.model).stem if is_config_file(cfg.model) else cfg.model
    weights = cfg.weights.stem if cfg.weights is not None else "" if cfg.model == DEMO else cfg.pretrained
    # What was said of a file makes other features of it.
    said = [] if cfg.weights is None else [cfg.pretrained]
    said.append(None if cfg.activation == "auto" else cfg.activation)
    return "/".join(each for each in (model, weights, *said) if each)


def input_size(model: str) -> int:
    """Side of a model's square input in pixels, from its config."""
    size = model_config(model)["vision_cfg"].get("image_size", 224)
    return int(size[0]) if isinstance(size, (list, tuple)) else int(size)


def weights_file(cfg: BackboneConfig) -> Path | None:
    """The local weights file of a configuration, or None where a pretrained tag names the weights."""
    if cfg.weights is not None:
        return cfg.weights
    return data_path("demo", "demo_clip.safetensors") if cfg.model == DEMO else None


def check_has_weights(cfg: BackboneConfig) -> None:
    """Refuse a configuration that names no weights."""
    if weights_file(cfg) is not None:
        return
    if is_config_file(cfg.model):
        raise AtlasError(
            f"backbone config {cfg.model} comes without weights",
            expected="a local weights file beside a config file",
            fix="set `backbone.weights`",
        )
    model_config(cfg.model)
    known_tag(cfg.model, cfg.pretrained)


def known_tag(model: str, tag: str | None) -> str:
    """A pretrained tag of a named model as open_clip spells it.

    Raises:
        AtlasError: The model has no such tag.
    """
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


def tag_config(model: str, tag: str) -> dict[str, Any]:
    """How open_clip says that a tag's weights were trained ("mean", "quick_gelu", "resize_mode", …)."""
    return dict(known_models().weights.get(model, {}).get(tag, {}))


def is_config_file(model: str) -> bool:
    """Whether a model is a config file (the demo's, too) and no name of open_clip's."""
    return model == DEMO or model.endswith(".json")


def config_file_content(model: str) -> dict[str, Any]:
    """An open_clip model config, or the hub's form of it with "model_cfg" and "preprocess_cfg"."""
    path = data_path("demo", "demo_clip.json") if model == DEMO else Path(model)
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


def weights_sha256(path: Path) -> str:
    """SHA-256 of a weights file, computed once for its size and time.

    Raises:
        AtlasError: There is no such file, or this user may not read it.
    """
    try:
        return _sha256(*file_stamp(path))
    except OSError as error:
        raise AtlasError(
            f"weights file {path} cannot be read: {error.strerror}",
            expected="a file that this user may read",
            fix="give this user the right to, or name another with `backbone.weights`",
        ) from error


@lru_cache(maxsize=16)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)

"""What a weights file itself tells about the activation that its weights were trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from atlas_core.backbone.source import file_stamp
from atlas_core.backbone.tensor_names import OPENAI_ENTRIES, tensor_names

# What transformers writes beside the weights that `CLIPModel.save_pretrained` saves.
_TRANSFORMERS_CONFIG = "config.json"
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}
# What open_clip writes beside weights for the hub, and what it calls them then (open_clip/factory.py).
_OPEN_CLIP_CONFIG = "open_clip_config.json"
_OPEN_CLIP_WEIGHTS = ("open_clip_model", "open_clip_pytorch_model")


@dataclass(frozen=True)
class Evidence:
    """What is told of weights.

    Attributes:
        quick_gelu: Whether they were trained with QuickGELU.
        words: What tells it.
        openai: Whether they are OpenAI's.
        preprocessing: open_clip's `preprocess_cfg` of the pixels, where that is told as well.
    """

    quick_gelu: bool
    words: str
    openai: bool = False
    preprocessing: Mapping[str, Any] | None = None


def file_evidence(weights: Path) -> Evidence | None:
    """What a weights file tells, None where it tells nothing.

    A state dict with the entries of OpenAI's archives is OpenAI's, all of whose models have QuickGELU (clip/model.py).
    A folder of the hub has open_clip's config, or that of transformers for weights with its names.
    """
    openai, transformers = _names(*file_stamp(weights))
    if openai:
        return Evidence(True, "it holds the entry input_resolution, as OpenAI's do", openai=True)
    if weights.stem in _OPEN_CLIP_WEIGHTS:
        content = _config(weights.with_name(_OPEN_CLIP_CONFIG))
        model, preprocessing = content.get("model_cfg"), content.get("preprocess_cfg")
        if isinstance(model, dict):
            quick = bool(model.get("quick_gelu", False))
            told = preprocessing if isinstance(preprocessing, dict) else None
            return Evidence(quick, f"the {_OPEN_CLIP_CONFIG} beside it says so", preprocessing=told)
    if transformers:
        towers = [
            _config(weights.with_name(_TRANSFORMERS_CONFIG)).get(f"{t}_config") for t in ("text", "vision")
        ]
        told_of = {each.get("hidden_act") if isinstance(each, dict) else None for each in towers}
        if len(told_of) == 1 and (act := told_of.pop()) in _ACTIVATIONS:
            return Evidence(_ACTIVATIONS[act], f"the {_TRANSFORMERS_CONFIG} beside it says so")
    return None


@lru_cache(maxsize=16)
def _names(path: Path, size: int, mtime_ns: int) -> tuple[bool, bool]:
    """Whether a file has OpenAI's entries, and whether its names are those of transformers' CLIP."""
    names = tensor_names(path)
    return OPENAI_ENTRIES[0] in names, any(name.startswith("vision_model.") for name in names)


def _config(path: Path) -> dict[str, Any]:
    """A config beside weights; empty where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

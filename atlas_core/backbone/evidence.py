"""What a weights file itself tells about the activation that its weights were trained with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from atlas_core.backbone.source import file_stamp
from atlas_core.backbone.tensor_names import OPENAI_ENTRIES, tensor_names

# What transformers writes beside the weights that `CLIPModel.save_pretrained` saves.
_CONFIG = "config.json"
_ACTIVATIONS = {"quick_gelu": True, "gelu": False}


@dataclass(frozen=True)
class Evidence:
    """Attributes:
    quick_gelu: Whether the weights were trained with QuickGELU.
    openai: Whether they are OpenAI's.
    words: What tells it.
    """

    quick_gelu: bool
    openai: bool
    words: str


def file_evidence(weights: Path) -> Evidence | None:
    """What a weights file tells, None where it tells nothing.

    A state dict with the entries of OpenAI's archives is OpenAI's, all of whose models have QuickGELU (clip/model.py).
    Weights named as in transformers have their activation in the config.json beside them.
    """
    openai, transformers = _names(*file_stamp(weights))
    if openai:
        return Evidence(True, True, "it holds the entry input_resolution, as OpenAI's do")
    if transformers:
        quick = _hidden_act(weights.with_name(_CONFIG))
        if quick is not None:
            return Evidence(quick, False, f"the {_CONFIG} beside it says so")
    return None


@lru_cache(maxsize=16)
def _names(path: Path, size: int, mtime_ns: int) -> tuple[bool, bool]:
    """Whether a file has OpenAI's entries, and whether its names are those of transformers' CLIP."""
    names = tensor_names(path)
    return OPENAI_ENTRIES[0] in names, any(name.startswith("vision_model.") for name in names)


def _hidden_act(config: Path) -> bool | None:
    """Whether a transformers config of CLIP has QuickGELU in both towers (True), GELU (False), or neither."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        towers = {content[tower]["hidden_act"] for tower in ("text_config", "vision_config")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _ACTIVATIONS.get(towers.pop()) if len(towers) == 1 else None

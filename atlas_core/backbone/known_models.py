"""The models and weights that open_clip knows by name, without importing it where it was asked before.

Importing open_clip takes seconds (it imports torch and torchvision), and planning a study or telling what of it is
stale needs nothing of it but names. What it answered is kept in a file, for as long as the same open_clip is installed.
"""

from __future__ import annotations

import json
import sys
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from atlas_core.kept_answers import keep_answer, read_answer

# Of open_clip: where the names of models and of pretrained weights come from.
_SOURCES = ("factory.py", "pretrained.py", "constants.py", "model_configs/*.json")


class KnownModels(BaseModel):
    """What open_clip knows by name.

    Attributes:
        configs: Model name → its config (embed_dim, vision_cfg, text_cfg, …).
        weights: Model name → pretrained tag → how its weights were trained ("mean", "std", "quick_gelu", …).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    configs: dict[str, dict[str, Any]]
    weights: dict[str, dict[str, dict[str, Any]]]


_FORM = TypeAdapter(KnownModels)


def known_models() -> KnownModels:
    """What the installed open_clip knows: from itself where it is loaded, else from the file that was kept.

    Raises:
        ImportError: open_clip is not installed.
    """
    # Another package may have added models to the one that is loaded; one that is just being loaded has none yet.
    models = getattr(sys.modules.get("open_clip"), "list_models", None)
    return _kept_or_asked() if models is None else _asked(len(models()))


@lru_cache(maxsize=1)
def _asked(models: int) -> KnownModels:
    """The answer while open_clip has that many models."""
    return ask_open_clip()


@cache
def _kept_or_asked() -> KnownModels:
    spec = find_spec("open_clip")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        return ask_open_clip()
    installed = _stamps(Path(folders[0]))
    known = read_answer("open_clip", installed, _FORM)
    if known is None:
        known = ask_open_clip()
        keep_answer("open_clip", installed, _FORM, known)
    return known


def ask_open_clip() -> KnownModels:
    """What open_clip itself answers."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    names = list(open_clip.list_models())
    weights = {
        name: {tag: get_pretrained_cfg(name, tag) for tag in list_pretrained_tags_by_model(name)}
        for name in names
    }
    answer = {"configs": {name: open_clip.get_model_config(name) for name in names}, "weights": weights}
    return _FORM.validate_json(json.dumps(answer))  # through JSON, so that a kept answer equals a fresh one


def _stamps(folder: Path) -> list[tuple[str, int, int, int]]:
    """Path, size and times of the installed files that the answers come from."""
    files = sorted(file for pattern in _SOURCES for file in folder.glob(pattern))
    stats = [(str(file), file.stat()) for file in files]
    return [(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats]

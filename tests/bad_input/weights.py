"""Weights that are no weights, or not of this model."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.bad_input.table import Ground, refused, refused_each
from tests.small_clip import small_open_clip


class _Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.marker}",))


def _with_weights(name: str, write: Callable[[Path], object]) -> Callable[[Ground], None]:
    def act(ground: Ground) -> None:
        path = ground.folder / name
        write(path)
        model = str(ground.world.home / "clip.json")
        ground.study(backbone={"model": model, "weights": str(path)})

    return act


def _state() -> dict[str, torch.Tensor]:
    return {name: value.contiguous() for name, value in small_open_clip(0).state_dict().items()}


def _torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/code/__torch__.py", "")
        archive.writestr("model/data.pkl", "")


def _truncated(path: Path) -> None:
    save_file(_state(), path)
    path.write_bytes(path.read_bytes()[:-5000])


def _with_nan(path: Path) -> None:
    state = _state()
    name = next(name for name in state if name.startswith("visual") and state[name].dim() == 2)
    state[name] = torch.full_like(state[name], float("nan"))
    save_file(state, path)


def _with_nan_text(path: Path) -> None:
    state = _state()
    state["text_projection"] = torch.full_like(state["text_projection"], float("nan"))
    save_file(state, path)


def _other_width(path: Path) -> None:
    save_file({n: v.contiguous() for n, v in small_open_clip(0, text_width=64).state_dict().items()}, path)


refused_each(
    "weights",
    {
        "a torchscript program": ("torchscript", _with_weights("w.pt", _torchscript)),
        "pickled module": (
            "cannot be read",
            _with_weights("w.pt", lambda p: torch.save(torch.nn.Linear(2, 2), p)),
        ),
        "truncated": ("cannot be read", _with_weights("w.safetensors", _truncated)),
        "empty": ("cannot be read", _with_weights("w.safetensors", lambda p: p.write_bytes(b"") and None)),
        "empty .pt": ("cannot be read", _with_weights("w.pt", lambda p: p.write_bytes(b"") and None)),
        "text": (
            "cannot be read",
            _with_weights("w.safetensors", lambda p: p.write_text("hello" * 9) and None),
        ),
        "text as .pt": (
            "cannot be read",
            _with_weights("w.pt", lambda p: p.write_text("hello" * 9) and None),
        ),
        "a number": ("state dict", _with_weights("w.pt", lambda p: torch.save(3, p))),
        "a dict of lists": ("tensor", _with_weights("w.pt", lambda p: torch.save({"a": [1]}, p))),
        "unknown ending": ("ending", _with_weights("w.npz", lambda p: p.write_bytes(b"x") and None)),
        "of another width": ("shape", _with_weights("w.safetensors", _other_width)),
        "of another model": (
            "missing",
            _with_weights("w.safetensors", lambda p: save_file({"a": torch.ones(1)}, p)),
        ),
        "NaN in the image tower": ("nan", _with_weights("w.safetensors", _with_nan)),
        "NaN in the text tower": ("nan", _with_weights("w.safetensors", _with_nan_text)),
        "that are a folder": ("weights", _with_weights("w.safetensors", lambda p: p.mkdir())),
    },
    may_add=True,
)


@refused("cannot be read", may_add=True)
def a_pickle_that_runs_a_command(ground: Ground) -> None:
    marker = ground.folder / "ran"
    try:
        _with_weights("w.pt", lambda p: p.write_bytes(pickle.dumps({"a": _Bomb(marker)})) and None)(ground)
    finally:
        assert not marker.exists(), "the pickle ran its command"


@refused("does not say whether it was trained with QuickGELU")
def weights_of_a_named_model_and_unknown_activation(ground: Ground) -> None:
    weights = str(ground.world.home / "clip.safetensors")
    ground.study(backbone={"model": "ViT-B-16", "weights": weights})


@refused("does not exist")
def weights_that_are_missing(ground: Ground) -> None:
    model = str(ground.world.home / "clip.json")
    ground.study(backbone={"model": model, "weights": str(ground.folder / "absent.safetensors")})


@refused("lacks")
def a_model_config_without_towers(ground: Ground) -> None:
    config = ground.folder / "clip.json"
    config.write_text(json.dumps({"embed_dim": 24}))
    ground.study(backbone={"model": str(config), "weights": str(ground.world.home / "clip.safetensors")})


@refused("cannot be read")
def a_model_config_that_is_no_json(ground: Ground) -> None:
    config = ground.folder / "clip.json"
    config.write_text("{")
    ground.study(backbone={"model": str(config), "weights": str(ground.world.home / "clip.safetensors")})


@refused("model", may_add=True)
def a_model_config_with_text_for_numbers(ground: Ground) -> None:
    config = json.loads((ground.world.home / "clip.json").read_text())
    config["vision_cfg"]["width"] = "wide"
    path = ground.folder / "clip.json"
    path.write_text(json.dumps(config))
    ground.study(backbone={"model": str(path), "weights": str(ground.world.home / "clip.safetensors")})

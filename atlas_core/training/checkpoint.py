"""Checkpoints of a training in progress, written whole, and the learned parameters of a finished run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from atlas_core.errors import AtlasError

if TYPE_CHECKING:
    from atlas_core.labels.schedule import Supervisor
    from atlas_core.methods.base import PromptMethod
    from atlas_core.training.averaging import GaussianAverage


@dataclass(frozen=True)
class Checkpoint:
    """The stateful parts of a training."""

    method: PromptMethod
    optimiser: torch.optim.Optimizer
    supervisor: Supervisor
    average: GaussianAverage | None


def save_checkpoint(path: Path, parts: Checkpoint, curves: list[dict[str, Any]]) -> None:
    """Write method, optimiser, label source and average to one safetensors file, atomically."""
    write_tensors(path, tensors_of(parts), {"curves": curves})


def tensors_of(parts: Checkpoint) -> dict[str, Tensor]:
    """Every tensor of a training's state, by name."""
    tensors = {f"method/{name}": value for name, value in parts.method.learned_state().items()}
    tensors |= {f"optimiser/{name}": value for name, value in _optimiser_tensors(parts.optimiser).items()}
    tensors |= {f"supervisor/{name}": value for name, value in parts.supervisor.state().items()}
    if parts.average is not None:
        tensors |= {f"average/{name}": value for name, value in parts.average.sums.items()}
    return tensors


def restore(parts: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
    """Put a training into the state that `tensors_of` gave.

    Raises:
        AtlasError: The parameters are not the method's.
    """
    parts.method.load_learned_state(below("method/", tensors))
    _restore_optimiser(parts.optimiser, below("optimiser/", tensors))
    parts.supervisor.load_state(below("supervisor/", tensors))
    if parts.average is not None:
        parts.average.sums = below("average/", tensors)


def trained_epochs_in(path: Path) -> int:
    """Epochs that a checkpoint's training has behind it; 0 where there is none that can be read."""
    try:
        with safe_open(path, framework="pt") as stream:
            return len(json.loads((stream.metadata() or {}).get("atlas", "{}")).get("curves", ()))
    except (OSError, SafetensorError, ValueError):
        return 0


def load_checkpoint(path: Path, parts: Checkpoint) -> list[dict[str, Any]]:
    """Restore a training from its checkpoint; returns the curves so far, none where there is no checkpoint.

    A checkpoint that cannot be read is left aside: training then starts from the first epoch.
    """
    if not path.is_file():
        return []
    try:
        tensors, metadata = read_tensors(path)
        restore(parts, tensors)
    except AtlasError:
        return []
    return list(metadata["curves"])


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors with JSON metadata as safetensors through a temporary sibling."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(contiguous, temporary, metadata={"atlas": json.dumps(metadata, sort_keys=True)})
        os.replace(temporary, path)
    except SafetensorError as error:
        # Its text alone says which error of the operating system it was ("… (os error 28)").
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON metadata of a safetensors file.

    Raises:
        AtlasError: The file is missing or is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return tensors, json.loads((stream.metadata() or {}).get("atlas", "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise AtlasError(
            f"{path} cannot be read as safetensors: {error}",
            fix="delete the artifact and run the study again",
        ) from error


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, each in state.items()
        for name, value in each.items()
        if value is not None
    }


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, entry = name.partition("/")
        state.setdefault(int(index), {})[entry] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})

"""One checkpoint for a whole stack: its members are always of the same epoch, however a write was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_core.errors import AtlasError
from atlas_core.training.checkpoint import Checkpoint, below, read_tensors, restore, tensors_of, write_tensors

Curves = list[dict[str, Any]]


def save_stack(path: Path, members: Mapping[int, tuple[Checkpoint, Curves]], epoch: int) -> None:
    """Write the members that are alive after an epoch, by number, to one file, atomically."""
    tensors = {
        f"{number}/{name}": value
        for number, (parts, _) in members.items()
        for name, value in tensors_of(parts).items()
    }
    curves = {str(number): rows for number, (_, rows) in members.items()}
    write_tensors(path, tensors, {"epoch": epoch, "curves": curves})


def load_stack(path: Path, members: Mapping[int, Checkpoint]) -> tuple[dict[int, Curves], int]:
    """Restore the members that were alive; returns their curves by number, and the epochs behind them.

    A checkpoint that cannot be read is left aside: (no curves, 0).
    """
    if not path.is_file():
        return {}, 0
    try:
        tensors, metadata = read_tensors(path)
        curves = {int(number): rows for number, rows in metadata["curves"].items()}
        for number in curves:
            restore(members[number], below(f"{number}/", tensors))
    except (AtlasError, KeyError):
        return {}, 0
    return curves, int(metadata["epoch"])

"""Bringing a dataset's files onto the disk, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError


@dataclass(frozen=True)
class Progress:
    """What a fetch is doing, and how far it is: `done` of `total` bytes (None while unknown)."""

    dataset: str
    step: str
    done: int = 0
    total: int | None = None


ProgressCallback = Callable[[Progress], None]


def ensure_fetched(spec: DatasetSpec, data_root: Path, progress: ProgressCallback | None = None) -> Path:
    """The dataset's folder, fetched or generated when it is not there yet.

    A folder that is there and complete is used as it is, and nothing is written. What is fetched appears
    under its name only when it is whole.

    Raises:
        AtlasError: The dataset has no source, or what its source gave is not the dataset.
    """
    folder = spec.path(data_root)
    report = progress or (lambda _: None)
    if folder.is_dir() and is_complete(spec, data_root):
        return folder
    if spec.source is not None and spec.source.generator is not None:
        return _generate(spec, data_root, report)
    read_dataset(spec, data_root)
    return folder


def is_complete(spec: DatasetSpec, data_root: Path) -> bool:
    """Whether the dataset can be read and has all its images."""
    try:
        read_dataset(spec, data_root)
    except AtlasError:
        return False
    return True


def _generate(spec: DatasetSpec, data_root: Path, report: ProgressCallback) -> Path:
    assert spec.source is not None
    folder = spec.path(data_root)
    folder.parent.mkdir(parents=True, exist_ok=True)
    report(Progress(spec.name, "generating"))
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        content = Path(temporary) / folder.name
        import_module(f"atlas_core.datasets.{spec.source.generator}").generate(spec.name, content)
        read_dataset(spec.model_copy(update={"folder": str(content)}), data_root)
        publish(content, folder, usable=lambda: is_complete(spec, data_root))
    return folder


def publish(content: Path, folder: Path, usable: Callable[[], bool]) -> None:
    """Give a finished folder its name in one step; the loser of a race keeps the winner's."""
    if folder.exists() and not usable():
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        os.replace(folder, aside / "replaced")
        shutil.rmtree(aside, ignore_errors=True)
    try:
        os.replace(content, folder)
    except OSError:
        if not usable():
            raise

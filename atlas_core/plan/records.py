"""Studies that were run on a store, kept beside the artifacts so that later commands know what was asked for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from atlas_core.config import StudyConfig
from atlas_core.errors import AtlasError
from atlas_core.store import Store

_FOLDER = ".studies"


def record_study(store: Store, study: StudyConfig) -> None:
    """Remember a study's configuration under its name, in one step.

    Raises:
        AtlasError: The store cannot be written to.
    """
    folder = store.root / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(study.model_dump_json(indent=1))
        os.replace(temporary, folder / f"{study.name}.json")
    except OSError as error:
        raise AtlasError(
            f"cannot write to the store {store.root}: {error.strerror}",
            expected="a folder that this user may write to, with free space",
            fix="choose another with --store or ATLAS_HOME",
        ) from error


def recorded_studies(store: Store) -> list[StudyConfig]:
    """Every study that was run on the store, the latest first.

    Raises:
        AtlasError: A record is damaged, or names a dataset that is no longer described.
    """
    files = sorted((store.root / _FOLDER).glob("*.json"), key=_written, reverse=True)
    return [_read(file) for file in files]


def _read(file: Path) -> StudyConfig:
    try:
        return StudyConfig.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error).replace("\n", " ")
        raise AtlasError(
            f"the record {file} of a study cannot be read ({reason})",
            expected="what `atlas run` wrote, and the datasets that it names",
            fix="run that study again, or delete the record",
        ) from error


def last_started(store: Store, study: StudyConfig) -> float:
    """When a study was last started on the store, in seconds since the epoch; 0 where it never was."""
    file = store.root / _FOLDER / f"{study.name}.json"
    return _written(file) if file.is_file() else 0.0


def _written(file: Path) -> float:
    return file.stat().st_mtime

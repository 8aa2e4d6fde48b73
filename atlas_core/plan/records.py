"""Studies that were run on a store, kept beside the artifacts so that later commands know what was asked for."""

from __future__ import annotations

import time
from typing import Any

from pydantic import model_validator

from atlas_core.config import StudyConfig
from atlas_core.numbered_records import NumberedRecords, Record
from atlas_core.store import Store


class StudyRecord(Record):
    """A study as it was last started.

    Attributes:
        started: When, in seconds since the epoch; what was made earlier was found in the store.
    """

    study: StudyConfig
    started: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _from_study_alone(cls, value: Any) -> Any:
        """A store of an earlier version has the study alone, without a number and with a device."""
        if not isinstance(value, dict) or "protocol" not in value:
            return value
        backbone = value.get("backbone", {})
        return {
            "study": {**value, "backbone": {name: backbone[name] for name in backbone if name != "device"}}
        }


_RECORDS = NumberedRecords(".studies", StudyRecord, "a study")


def record_study(store: Store, study: StudyConfig) -> None:
    """Remember a study's configuration under its name, as the latest one.

    Raises:
        AtlasError: The store cannot be written to.
    """
    _RECORDS.write(store, study.name, StudyRecord(study=study, started=time.time()))


def recorded_studies(store: Store) -> list[StudyConfig]:
    """Every study that was run on the store, the latest first.

    Raises:
        AtlasError: A record is damaged, or names a dataset that is no longer described.
    """
    return [record.study for record in _RECORDS.latest_first(store)]


def last_started(store: Store, study: StudyConfig) -> float:
    """When a study was last started on the store, in seconds since the epoch; 0 where it never was."""
    record = _RECORDS.named(store, study.name)
    return record.started if record else 0.0

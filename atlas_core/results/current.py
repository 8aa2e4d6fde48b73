"""Which result tables of a store are current: those with which each study last finished.

A record in the store says so, `<store>/.results/<study>@<protocol>.json` with the key of the aggregate.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_core.errors import AtlasError
from atlas_core.manifest import Manifest, read_manifest
from atlas_core.numbered_records import NumberedRecords, Record
from atlas_core.registry import unknown_name
from atlas_core.store import Store

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)


class ResultRecord(Record):
    """Which aggregate a study last finished with."""

    study: str
    protocol: str
    aggregate: str


_RECORDS = NumberedRecords(".results", ResultRecord, "a study's results")


def current_aggregates(store: Store) -> list[Manifest]:
    """The aggregate of each study that it finished with last, the study that finished last first.

    Studies of one name and different protocols are different studies. Where the record of a study is missing, or
    the aggregate that it names, its only aggregate stands for it. Of several the one that was made last by the clock
    does, which is said, because clocks may be wrong.

    Raises:
        AtlasError: A record is damaged.
    """
    stored = sorted(store.manifests("aggregate"), key=lambda manifest: manifest.created)
    current = {_study_and_protocol(manifest): manifest for manifest in stored}
    by_key = {manifest.key: manifest for manifest in stored}
    several = {study for study, count in Counter(map(_study_and_protocol, stored)).items() if count > 1}
    numbers = {}
    for record in _RECORDS.latest_first(store):
        study = (record.study, record.protocol)
        numbers[study] = record.number
        if record.aggregate in by_key:
            current[study] = by_key[record.aggregate]
            several.discard(study)
    if several:
        _say_guessed(store.root, tuple(sorted({study for study, _ in several})))

    def finished(manifest: Manifest) -> tuple[int, float]:
        return numbers.get(_study_and_protocol(manifest), 0), manifest.created

    return sorted(current.values(), key=finished, reverse=True)


@lru_cache(maxsize=16)
def _say_guessed(store: Path, studies: tuple[str, ...]) -> None:
    """Say that results were chosen by the clock; once in a process."""
    log.warning(
        "no record in %s says which results of %s are current; those made last by the clock are taken "
        "(`atlas run` of the study settles it)",
        store / _RECORDS.folder,
        ", ".join(studies),
    )


def mark_current(store: Store, key: str) -> None:
    """Make an aggregate the current one of its study, and its study the one that finished last.

    To be called when a study ends, also where its aggregate was cached: one of other settings may be younger.

    Raises:
        AtlasError: The store cannot be written to, and another aggregate is the current one.
    """
    manifest = read_manifest(store.path("aggregate", key))
    if manifest is not None:
        study, protocol = _study_and_protocol(manifest)
        record = ResultRecord(study=study, protocol=protocol, aggregate=key)
        try:
            _RECORDS.write(store, f"{study}@{protocol}", record)
        except AtlasError:
            marked = _RECORDS.named(store, f"{study}@{protocol}")
            if marked is None or marked.aggregate != key:
                raise


def study_names(store: Store) -> list[str]:
    """Names of the studies that have results, the latest first."""
    return list(dict.fromkeys(_study(manifest) for manifest in current_aggregates(store)))


def open_results(store: Store, studies: Collection[str] = ()) -> duckdb.DuckDBPyConnection:
    """The database over the current results of some studies, or of all.

    Raises:
        AtlasError: The store has no results, or none of a study that is asked for.
    """
    from atlas_core.results.database import connect  # DuckDB, which marking an aggregate does without

    found = current_aggregates(store)
    if not found:
        raise AtlasError(
            f"no results in the store {store.root}",
            expected="a store on which a study was run to its end",
            fix="run a study first: `atlas run STUDY`",
        )
    for study in studies:
        if study not in study_names(store):
            raise unknown_name("study with results", study, study_names(store))
    chosen = [manifest for manifest in found if not studies or _study(manifest) in studies]
    return connect(folders_of(store, chosen))


def folders_of(store: Store, manifests: Collection[Manifest]) -> list[Path]:
    """Where the tables of aggregates are."""
    return [store.path(manifest.stage, manifest.key) for manifest in manifests]


def _study(manifest: Manifest) -> str:
    return _study_and_protocol(manifest)[0]


def _study_and_protocol(manifest: Manifest) -> tuple[str, str]:
    config = manifest.key_parts["config"]
    return str(config["study"]), str(config["protocol"])

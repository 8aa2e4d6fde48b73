"""Which result tables of a store are current: the last aggregate of each study."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_core.errors import AtlasError
from atlas_core.manifest import MANIFEST, Manifest
from atlas_core.registry import unknown_name
from atlas_core.store import Store

if TYPE_CHECKING:
    import duckdb


def current_aggregates(store: Store) -> list[Manifest]:
    """The aggregate of each study that was made or marked last, the latest first.

    Studies of one name and different protocols are different studies.
    """
    newest: dict[tuple[str, str], tuple[float, Manifest]] = {}
    for manifest in store.manifests("aggregate"):
        config = manifest.key_parts["config"]
        study = (config["study"], config["protocol"])
        used = _last_used(store, manifest)
        if study not in newest or used > newest[study][0]:
            newest[study] = (used, manifest)
    return [manifest for _, manifest in sorted(newest.values(), key=lambda each: each[0], reverse=True)]


def mark_current(store: Store, key: str) -> None:
    """Make an aggregate the current one of its study.

    To be called when a study ends: one whose aggregate was cached has not written it anew, though an aggregate
    of other settings may be younger.
    """
    manifest = store.path("aggregate", key) / MANIFEST
    if manifest.is_file():
        os.utime(manifest)


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
    return str(manifest.key_parts["config"]["study"])


def _last_used(store: Store, manifest: Manifest) -> float:
    return (store.path(manifest.stage, manifest.key) / MANIFEST).stat().st_mtime

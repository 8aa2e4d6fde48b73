"""Every byte of a store against the hashes that were noted when it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_core.hashing import artifact_key, sha256_of
from atlas_core.manifest import MANIFEST, Manifest, read_manifest
from atlas_core.store import Store


@dataclass(frozen=True)
class Checked:
    """What reading one artifact showed.

    Attributes:
        name: The artifact's human name, or its folder's where the manifest cannot be read.
        faults: What is wrong with it; empty when every byte is as it was written.
    """

    stage: str
    key: str
    name: str
    bytes: int
    faults: tuple[str, ...]


def check_artifacts(store: Store) -> Iterator[Checked]:
    """Read every artifact, one after the other."""
    for folder in store.folders():
        manifest = read_manifest(folder)
        stage, key = folder.parent.name, folder.name
        if manifest is None:
            yield Checked(stage, key, f"{stage}/{key[:16]}", 0, (f"{MANIFEST} is missing or damaged",))
            continue
        yield Checked(stage, key, manifest.name, manifest.bytes, tuple(_faults(store, folder, manifest)))


def _faults(store: Store, folder: Path, manifest: Manifest) -> Iterator[str]:
    if (manifest.stage, manifest.key) != (folder.parent.name, folder.name):
        yield f"its manifest is that of {manifest.stage}/{manifest.key[:16]}"
        return
    if _key_of(manifest.key_parts) != manifest.key:
        yield "its key is not the hash of its key parts"
    if _digest_of({name: output.sha256 for name, output in manifest.outputs.items()}) != manifest.digest:
        yield "its digest is not the hash of its outputs' hashes"
    for name in store.verify(manifest):
        yield f"{name} is {'changed' if (folder / name).is_file() else 'missing'}"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(there - set(manifest.outputs) - {MANIFEST}):
        yield f"{name} does not belong to it"


def _key_of(key_parts: Mapping[str, Any]) -> str:
    try:
        return artifact_key(key_parts)
    except (TypeError, ValueError, AttributeError):
        return ""


def _digest_of(value: object) -> str:
    try:
        return sha256_of(value)
    except (TypeError, ValueError):
        return ""

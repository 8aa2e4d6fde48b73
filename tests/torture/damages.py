"""Damage to the files of a store between two runs."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from atlas_core.store import Store


def damage_store(store: Store, chance: random.Random) -> str | None:
    """Damage one to three artifacts; the kind of damage, or None where there is no whole artifact."""
    whole = [each for each in store.manifests() if store.lookup(each.stage, each.key) is not None]
    folders = sorted(store.path(each.stage, each.key) for each in whole)
    if not folders:
        return None
    kind = chance.choice(sorted(DAMAGES))
    for folder in chance.sample(folders, min(len(folders), chance.randint(1, 3))):
        DAMAGES[kind](folder, chance)
    return kind


def _truncate(folder: Path, chance: random.Random) -> None:
    file = _file_in(folder, chance)
    os.truncate(file, chance.randrange(max(1, file.stat().st_size)))


def _flip(folder: Path, chance: random.Random) -> None:
    file = _file_in(folder, chance)
    content = bytearray(file.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(bytes(content))


def _remove_file(folder: Path, chance: random.Random) -> None:
    _file_in(folder, chance).unlink()


def _remove_folder(folder: Path, chance: random.Random) -> None:
    shutil.rmtree(folder)


def _remove_manifest(folder: Path, chance: random.Random) -> None:
    (folder / "manifest.json").unlink()


def _cut_manifest(folder: Path, chance: random.Random) -> None:
    manifest = folder / "manifest.json"
    os.truncate(manifest, chance.randrange(manifest.stat().st_size))


def _file_in(folder: Path, chance: random.Random) -> Path:
    """A file of an artifact other than its manifest."""
    return chance.choice(sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"))


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "file truncated": _truncate,
    "bit flipped": _flip,
    "file removed": _remove_file,
    "artifact removed": _remove_folder,
    "manifest removed": _remove_manifest,
    "manifest truncated": _cut_manifest,
}

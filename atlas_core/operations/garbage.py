"""What a store holds that no preset and no study that was run on it needs."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from atlas_core.code.closure import Sources
from atlas_core.code.records import FOLDER as CODE_FOLDER
from atlas_core.config import StudyConfig
from atlas_core.hashing import artifact_key
from atlas_core.left_behind import age, folders_in, left_behind
from atlas_core.manifest import Manifest, read_manifest
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.records import recorded_studies
from atlas_core.plan.resolve import Resolver
from atlas_core.presets import load_studies, preset_names
from atlas_core.results.current import current_aggregates
from atlas_core.store import TRASH, Store, known_stages

Place = tuple[str, str]  # stage, key

# How this program names what it leaves in a store's own folders; what is named otherwise is somebody else's.
_WORK = re.compile(r"[a-z][a-z0-9_]*-[0-9a-f]{64}")

# A job writes its checkpoint or a shard far more often than this.
QUIET_SECONDS = 3600.0


@dataclass(frozen=True)
class Piece:
    """A folder or a lock file that nothing needs, and why it is there."""

    path: Path
    name: str
    reason: str
    bytes: int


@dataclass(frozen=True)
class Needed:
    """What studies need of a store.

    Attributes:
        artifacts: (stage, key) of what is fresh or may be so again.
        unfinished: (stage, key) of what could be made next; its checkpoints are of use.
        asked: When this was found out, in seconds since the epoch; of what is made later it says nothing.
    """

    artifacts: frozenset[Place]
    unfinished: frozenset[Place]
    asked: float = math.inf


def known_studies(store: Store) -> list[StudyConfig]:
    """Every preset's study and every study that was run on the store.

    Raises:
        AtlasError: A record cannot be read: what its study needs is then unknown, and nothing may be removed.
    """
    presets = [study for name in preset_names() for study in load_studies(name)]
    # Benchmarks repeat the studies of other presets.
    distinct = {study.model_dump_json(): study for study in [*presets, *recorded_studies(store)]}
    return list(distinct.values())


def needed_by(studies: Iterable[StudyConfig], placement: Placement) -> Needed:
    """What these studies need.

    A node whose key is known needs the artifact of that key. One whose inputs are not fresh has no key yet (its
    dataset may be on a disk that is not mounted now): every version of it may be found again, so all are needed.

    Of a dataset that no artifact names there is nothing to keep, because the keys of all that hangs on it are made
    from its `fetch`. Such nodes, most of the presets', are not looked at.
    """
    asked = time.time()
    store = _ReadOnce(placement.store_path)
    datasets = _datasets_in(store)
    outside: dict[str, str] = {}
    code = Sources()
    artifacts: set[Place] = {(each.stage, each.key) for each in current_aggregates(store)}
    unfinished: set[Place] = set()
    for study in studies:
        graph = build_graph(study, placement, datasets)
        resolver = Resolver(graph, store, outside, code=code)
        states = resolver.states()
        for node in graph.nodes:
            state = states[node.name]
            if state.key_parts is None or (node is graph.aggregate and not graph.whole):
                artifacts |= {(each.stage, each.key) for each in resolver.family(node)}
                continue
            place = (node.stage, artifact_key(state.key_parts))
            artifacts.add(place)
            if state.status != "fresh":
                unfinished.add(place)
    return Needed(frozenset(artifacts), frozenset(unfinished), asked)


class _ReadOnce(Store):
    """A store as it is at one moment: whoever asks, each manifest is read and checked once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._looked_up: dict[Place, Manifest | None] = {}
        self._manifests: dict[str | None, list[Manifest]] = {}

    def lookup(self, stage: str, key: str) -> Manifest | None:
        if (stage, key) not in self._looked_up:
            self._looked_up[stage, key] = super().lookup(stage, key)
        return self._looked_up[stage, key]

    def manifests(self, stage: str | None = None) -> Iterator[Manifest]:
        if stage not in self._manifests:
            self._manifests[stage] = list(super().manifests(stage))
        yield from self._manifests[stage]


def _datasets_in(store: Store) -> set[str] | None:
    """Names of the datasets that the families of a store's artifacts name; None where all may be needed.

    A family is "<stage>/<dataset>/…", with the dataset that is tested on after " on ".
    """
    if any(folder.name.startswith("fetch-") for folder in folders_in(store.root / ".work")):
        return None  # what it brings was not made yet, so no artifact names it
    families = {manifest.family for manifest in store.manifests()}
    places = {place for family in families for place in family.partition("/")[2].split(" on ")}
    return {place.partition("/")[0] for place in places}


def garbage(store: Store, needed: Needed, *, now: float | None = None) -> Iterator[Piece]:
    """Artifacts that nothing needs, and what crashes left: half-written folders, work that nobody wants, locks."""
    clock = time.time() if now is None else now
    for folder in store.folders():
        manifest = read_manifest(folder)
        made_since = manifest is not None and manifest.created >= needed.asked
        if (folder.parent.name, folder.name) not in needed.artifacts and not made_since:
            name = manifest.name if manifest else f"{folder.parent.name}/{folder.name[:16]}"
            reason = "no study needs it" if manifest else "has no manifest"
            yield Piece(folder, name, reason, folder_bytes(folder))
    for folder in left_behind(store, clock):
        yield Piece(folder, f".tmp/{folder.name}", "its writer is gone", folder_bytes(folder))
    for folder in folders_in(store.root / ".work"):
        stage, _, key = folder.name.rpartition("-")
        if not _WORK.fullmatch(folder.name):
            continue
        if (stage, key) not in needed.unfinished and age(folder, clock) > QUIET_SECONDS:
            yield Piece(folder, f".work/{folder.name[:40]}", "no study waits for it", folder_bytes(folder))
    for file in sorted((store.root / ".work").glob("*.lock")):
        if _WORK.fullmatch(file.stem) and _given_up(file, clock):
            yield Piece(file, f".work/{file.name[:40]}….lock", "nobody holds it", 0)
    yield from _unused_records(store, clock)


def _unused_records(store: Store, now: float) -> Iterator[Piece]:
    """What was recorded of code that made none of the artifacts that are there; a study records before it makes."""
    used = {manifest.key_parts.get("code") for manifest in store.manifests()}
    for file in sorted((store.root / CODE_FOLDER).glob("*.json")):
        if file.stem not in used and age(file, now) > QUIET_SECONDS:
            yield Piece(
                file, f"{CODE_FOLDER}/{file.stem[:16]}", "no artifact was made by it", file.stat().st_size
            )


def remove(store: Store, pieces: Sequence[Piece]) -> None:
    """Move artifacts into the store's trash, in one step each, and remove what crashes left."""
    for piece in pieces:
        if piece.path.suffix == ".lock":
            _remove_lock(piece.path)
        elif piece.path.is_file():
            piece.path.unlink(missing_ok=True)
        elif piece.path.parent.name.startswith("."):
            shutil.rmtree(piece.path, ignore_errors=True)
        else:
            store.discard(piece.path.parent.name, piece.path.name)


def trash(store: Store) -> Iterator[Piece]:
    """What lies in the store's trash."""
    for stage in known_stages():
        for folder in folders_in(store.root / TRASH / stage):
            for artifact in folders_in(folder):
                manifest = read_manifest(artifact)
                name = manifest.name if manifest else f"{stage}/{artifact.name[:16]}"
                yield Piece(folder, name, "in the trash", folder_bytes(folder))


def empty_trash(store: Store) -> None:
    """Delete for good what lies in the trash; files that somebody put into an artifact's folder are kept."""
    for stage in known_stages():
        for folder in folders_in(store.root / TRASH / stage):
            for artifact in folders_in(folder):
                store.delete_folder(artifact)
            with suppress(OSError):  # something else lies in there
                folder.rmdir()


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder; those that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except FileNotFoundError:
            continue
    return total


def _given_up(lock: Path, now: float) -> bool:
    """Whether a lock file is what a killed process left; a job that ends removes its own."""
    try:
        if now - lock.stat().st_mtime < QUIET_SECONDS:
            return False
        with FileLock(lock, blocking=False):
            return True
    except (Timeout, OSError):
        return False


def _remove_lock(lock: Path) -> None:
    """Remove a lock file while holding it, so that nobody else believes to hold it."""
    with suppress(Timeout, OSError), FileLock(lock, blocking=False):
        lock.unlink(missing_ok=True)

"""Running one job: a hit is answered from the store, anything else is made and published whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from atlas_core.locks import held
from atlas_core.manifest import NOTHING_SPENT, ArtifactRef, Manifest, Spent
from atlas_core.placement import Placement
from atlas_core.stages.account import Account
from atlas_core.stages.stage import STAGES, Job, Stage, StageContext
from atlas_core.store import Store, writing

# In a job's work folder: what was spent on it before it was its turn, as a member of a stack.
SPENT_FILE = "spent.json"


@dataclass(frozen=True)
class JobResult:
    """What became of a job: the artifact, whether it was there already, and the seconds it took."""

    name: str
    ref: ArtifactRef
    cached: bool
    wall_seconds: float
    account: Account | None = None


def execute(job: Job, placement: Placement) -> JobResult:
    """Make the job's artifact, or find it in the store.

    Raises:
        AtlasError: The stage failed for a reason that the user can act on; nothing is published.
    """
    store = Store(placement.store_path)
    stage = STAGES.get(job.stage)
    found = _usable(store, stage, job)
    if found is not None:
        return JobResult(job.name, found.ref, True, found.wall_seconds)
    work = work_folder(store, job)
    # Shards and checkpoints in there are one writer's: another study that needs the same artifact waits for it.
    lock = Path(f"{work}.lock")
    store.make()
    with writing(store.root):
        lock.parent.mkdir(parents=True, exist_ok=True)
        only_here = held(lock)
    with only_here:
        try:
            found = _usable(store, stage, job)
            if found is not None:
                return JobResult(job.name, found.ref, True, found.wall_seconds)
            return _make(store, stage, job, placement, work)
        finally:
            # Whoever opens it from now on finds the artifact first, or makes it after a failure.
            lock.unlink(missing_ok=True)


def work_folder(store: Store, job: Job) -> Path:
    """Where a job keeps what outlives a crash."""
    return store.root / ".work" / f"{job.stage}-{job.key}"


def _usable(store: Store, stage: Stage, job: Job) -> Manifest | None:
    """The job's artifact if it is whole and stands for something that is still there."""
    found = store.lookup(job.stage, job.key)
    return found if found is not None and (stage.usable is None or stage.usable(job.runtime)) else None


def _make(store: Store, stage: Stage, job: Job, placement: Placement, work: Path) -> JobResult:
    inputs = {role: store.path(ref.stage, ref.key) for role, ref in job.inputs.items()}

    def write(out: Path) -> None:
        stage.run(StageContext(job.config, inputs, out, work, job.key, job.runtime, placement))
        # Only now: where the stage fails, an artifact that is of no use any more stays.
        store.delete(job.stage, job.key)

    spent = _spent_before(work)
    manifest = store.publish(job.stage, job.name, job.key_parts, write, family=job.family, spent=spent)
    shutil.rmtree(work, ignore_errors=True)
    return JobResult(job.name, manifest.ref, False, manifest.wall_seconds)


def _spent_before(work: Path) -> Spent:
    try:
        return Spent(**json.loads((work / SPENT_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return NOTHING_SPENT

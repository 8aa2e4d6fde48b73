"""Running one job: a hit is answered from the store, anything else is made and published whole."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from atlas_core.config import Placement
from atlas_core.stages.stage import STAGES, Job, StageContext
from atlas_core.store import ArtifactRef, Store


@dataclass(frozen=True)
class JobResult:
    """What became of a job: the artifact, whether it was there already, and the seconds it took."""

    name: str
    ref: ArtifactRef
    cached: bool
    wall_seconds: float


def execute(job: Job, placement: Placement) -> JobResult:
    """Make the job's artifact, or find it in the store.

    Raises:
        AtlasError: The stage failed for a reason that the user can act on; nothing is published.
    """
    store = Store(placement.store_path)
    stage = STAGES.get(job.stage)
    found = store.lookup(job.stage, job.key)
    if found is not None and (stage.usable is None or stage.usable(job.runtime)):
        return JobResult(job.name, found.ref, True, found.wall_seconds)
    work = store.root / ".work" / f"{job.stage}-{job.key}"
    inputs = {role: store.path(ref.stage, ref.key) for role, ref in job.inputs.items()}

    def write(out: Path) -> None:
        stage.run(StageContext(job.config, inputs, out, work, job.key, job.runtime, placement))
        if found is not None:
            # Only now: where the stage fails, what was there stays.
            store.delete(job.stage, job.key)

    manifest = store.publish(job.stage, job.name, job.key_parts, write, family=job.family)
    shutil.rmtree(work, ignore_errors=True)
    return JobResult(job.name, manifest.ref, False, manifest.wall_seconds)

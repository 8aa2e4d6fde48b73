"""Training several tune jobs as one stack; each is then published like any other, with nothing left to train.

What a stack leaves in a job's work folder is the checkpoint of a training that has its last epoch behind it. So a
member that fails, or does not fit, is simply trained alone, and a kill at any moment leaves either the stack's own
checkpoint, from which the same members go on, or theirs.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.load import load_backbone
from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of
from atlas_core.locks import held
from atlas_core.methods.coop import CoOp
from atlas_core.placement import Placement
from atlas_core.stages.execute import SPENT_FILE, work_folder
from atlas_core.stages.runtime import backbone_config
from atlas_core.stages.stage import Job, StageContext
from atlas_core.stages.trained_method import build_method
from atlas_core.stages.tune import CHECKPOINT_FILE, PreparedRun, prepare_run
from atlas_core.store import Store, writing
from atlas_core.training.checkpoint import Checkpoint, save_checkpoint, trained_epochs_in
from atlas_core.training.loop import EpochCurve, Resumption
from atlas_core.training.stack import Member, can_stack, train_stack
from atlas_core.training.stacked_text import kept_bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seat:
    """A job, its work folder, and its run before the first step."""

    job: Job
    work: Path
    run: PreparedRun

    @property
    def member(self) -> Member:
        return Member(self.run.method, self.run.data, self.run.supervisor, self.run.seed, self.run.teacher)

    @property
    def trained(self) -> bool:
        return trained_epochs_in(self.work / CHECKPOINT_FILE) >= self.run.recipe.trained_epochs


def train_together(jobs: Sequence[Job], placement: Placement) -> None:
    """Train tune jobs in stacks as large as the memory budget allows; leaves each one's last checkpoint.

    Jobs that are published, that fail or that cannot be stacked are left as they are.

    Raises:
        AtlasError: The store cannot be written to.
    """
    store = Store(placement.store_path)
    ordered = sorted(jobs, key=lambda job: job.key)
    with ExitStack() as locks:
        for job in ordered:  # in the order of keys, so that two studies never wait for each other
            locks.enter_context(_lock(store, job))
        missing = [job for job in ordered if store.lookup(job.stage, job.key) is None]
        seats = [seat for job in missing if (seat := _prepared(store, job, placement))]
        for together in _stacks(seats, placement):
            # Where some are not, all go on from the stack's checkpoint: other members would be other bits.
            if not all(seat.trained for seat in together):
                _train(together)


def _lock(store: Store, job: Job) -> AbstractContextManager[object]:
    path = Path(f"{work_folder(store, job)}.lock")
    with writing(store.root):
        path.parent.mkdir(parents=True, exist_ok=True)
        return held(path)


def _prepared(store: Store, job: Job, placement: Placement) -> _Seat | None:
    """The job's run; None where it cannot be prepared, which it says itself when it is run alone."""
    work = work_folder(store, job)
    inputs = {role: store.path(ref.stage, ref.key) for role, ref in job.inputs.items()}
    context = StageContext(job.config, inputs, work, work, job.key, job.runtime, placement)
    try:
        clip: FrozenClip = load_backbone(backbone_config(context), context.placement.device)
        method = build_method(clip, job.config, inputs, cost=job.runtime["cost"])
        return _Seat(job, work, prepare_run(context, clip, method))
    except AtlasError as error:
        log.info("%s cannot be prepared for a stack: %s", job.name, error)
        return None


def _stacks(seats: Sequence[_Seat], placement: Placement) -> Iterator[list[_Seat]]:
    """The seats in stacks of at most the placement's size, or as many as its memory budget allows."""
    if len(seats) < 2 or not can_stack([seat.member for seat in seats]):
        return
    first = seats[0].run.method
    assert isinstance(first, CoOp)
    affordable = max(1, int(placement.stack_gigabytes * 1e9 / kept_bytes(first)))
    size = affordable if placement.stack == "auto" else placement.stack
    for start in range(0, len(seats), size):
        together = list(seats[start : start + size])
        if len(together) > 1:
            yield together


def _train(seats: Sequence[_Seat]) -> None:
    # In the work folder of the first member: it is kept for as long as that one is not published.
    path = seats[0].work / f"stack-{sha256_of([seat.job.key for seat in seats])[:16]}.safetensors"
    wall, cpu = time.perf_counter(), time.process_time()
    trained: list[tuple[_Seat, Checkpoint, list[EpochCurve]]] = []
    results = train_stack(
        [seat.member for seat in seats],
        seats[0].run.recipe,
        resumption=Resumption(path),
        on_trained=lambda number, parts, curves: trained.append(_leave(seats[number], parts, curves)),
    )
    spent = {
        "wall_seconds": (time.perf_counter() - wall) / len(seats),
        "cpu_seconds": (time.process_time() - cpu) / len(seats),
        "trained_with": len(seats) - 1,
    }
    for seat, _, _ in trained:
        (seat.work / SPENT_FILE).write_text(json.dumps(spent))
    failed = [
        seat.job.name for seat, result in zip(seats, results, strict=True) if isinstance(result, AtlasError)
    ]
    log.info(
        "trained %d runs as one stack%s", len(trained), f"; left out: {', '.join(failed)}" if failed else ""
    )


def _leave(
    seat: _Seat, parts: Checkpoint, curves: list[EpochCurve]
) -> tuple[_Seat, Checkpoint, list[EpochCurve]]:
    save_checkpoint(seat.work / CHECKPOINT_FILE, parts, [asdict(row) for row in curves])
    return seat, parts, curves

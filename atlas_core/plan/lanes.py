"""Where jobs run, by what they use: the network, processors, or the device that trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.devices import gpu_count, shared_gpus
from atlas_core.plan.workers import Outcome, attempt_there, process_pool, signals_kept_away
from atlas_core.registry import registering_modules
from atlas_core.stages.stage import Job

# Downloads at a time: more would only share one line.
DOWNLOADS = 4

Submit = Callable[[Sequence[Job], Placement], "Future[list[Outcome]]"]


class Lane(Protocol):
    """Takes units of jobs, a number of them at a time.

    Attributes:
        slots: Units at a time.
        submit: Hands over a unit's jobs; None where the scheduler's own thread runs them.
    """

    @property
    def slots(self) -> int: ...

    @property
    def submit(self) -> Submit | None: ...

    def explain(self, error: Exception) -> tuple[str, bool]:
        """What to tell of an error that is not a job's own, and whether the unit may be tried once more."""
        ...

    def deserted(self) -> str | None:
        """What to tell of jobs that no worker is left for; None while there are some."""
        ...


class InProcessLane:
    """One unit at a time, in the scheduler's own thread."""

    slots = 1
    submit = None

    def explain(self, error: Exception) -> tuple[str, bool]:
        return str(error), False

    def deserted(self) -> str | None:
        return None


class ProcessLane:
    """Worker processes of this machine.

    Args:
        workers: How many.
        threads: Torch threads of each.
        gpus: GPUs that they take turns with; ("",) hides all of them.
        torch: Whether they import torch when they start (downloads need none).
    """

    def __init__(self, workers: int, threads: int, gpus: tuple[str, ...] = (), *, torch: bool = True) -> None:
        self._pool = (workers, threads, gpus, torch)
        # One unit more than there are workers, so that none waits while the next is chosen.
        self.slots = workers + 1 if torch else workers

    def submit(self, jobs: Sequence[Job], placement: Placement) -> Future[list[Outcome]]:
        registering = registering_modules()
        with signals_kept_away():  # a pool starts its workers as they are needed
            try:
                return process_pool(*self._pool).submit(attempt_there, jobs, placement, registering)
            except BrokenProcessPool:
                again = process_pool(*self._pool, anew=True)
                return again.submit(attempt_there, jobs, placement, registering)

    def explain(self, error: Exception) -> tuple[str, bool]:
        if isinstance(error, BrokenProcessPool):
            # The others of the pool die with it, and which one was to blame cannot be told.
            return "a worker process was killed (out of memory?)", True
        return f"{type(error).__name__}: {error}", False

    def deserted(self) -> str | None:
        return None


def lanes_for(placement: Placement) -> dict[str, Lane]:
    """The lanes "network", "processors" and "device" of a placement; no worker starts before its first job.

    Raises:
        AtlasError: The placement names a Dask cluster, and Dask is not installed.
    """
    if placement.in_process:
        here = InProcessLane()
        return {"network": here, "processors": here, "device": here}
    if placement.dask is not None:
        return dict(_dask_lanes(placement))
    gpus = shared_gpus(placement.device)
    device = ProcessLane(placement.workers, placement.threads, gpus)
    processors = device
    if gpu_count(placement.device):
        # Decoding goes on beside training, in processes that hold no memory of a GPU.
        processors = ProcessLane(max(1, (os.cpu_count() or 1) // 2), placement.threads, ("",))
    return {"network": ProcessLane(DOWNLOADS, 1, torch=False), "processors": processors, "device": device}


def _dask_lanes(placement: Placement) -> dict[str, Lane]:
    try:
        from atlas_core.plan.dask_cluster import DaskLane
    except ModuleNotFoundError as error:
        raise AtlasError(
            f"Dask is not installed ({error})",
            expected="the package `distributed`, here and on every worker",
            fix="pip install 'atlas-prompt-tuning[dask]', or leave --dask out",
        ) from error
    workers = DaskLane(placement)
    return {"network": DaskLane(placement, at_once=DOWNLOADS), "processors": workers, "device": workers}

"""Running jobs: in this process, in a pool of processes, or on a Dask cluster."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.util import Finalize
from threading import Lock, Thread

from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.devices import see_one_gpu, shared_gpus
from atlas_core.stages.account import Account, LogLine, accounting
from atlas_core.stages.execute import JobResult, execute
from atlas_core.stages.stage import Job

# Of multiprocessing's finalizers: those below 0 run last.
_AFTER_ALL_ELSE = -1000
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobFailure:
    """A job that raised: its name, the message for the user, and the trace for the log."""

    name: str
    message: str
    trace: str
    account: Account | None = None


Outcome = JobResult | JobFailure


def run_jobs(
    jobs: Sequence[Job], placement: Placement, on_done: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Run independent jobs; one that fails leaves the others alone.

    Args:
        jobs: Jobs whose inputs are all in the store.
        placement: `workers` 0 runs them here, else that many processes share them, or the cluster that `dask` names.
            The bits are the same.
        on_done: Called in this process as each job ends.

    Returns:
        One outcome a job, in the order of `jobs`.
    """
    outcomes: dict[int, Outcome] = {}
    for position, outcome in _outcomes(jobs, placement):
        outcomes[position] = outcome
        if on_done is not None:
            on_done(outcome)
    return [outcomes[position] for position in range(len(jobs))]


def _outcomes(jobs: Sequence[Job], placement: Placement) -> Iterator[tuple[int, Outcome]]:
    if not jobs:
        return
    if placement.in_process:
        import torch  # here and below: a study may be planned, and found cached, without it

        torch.set_num_threads(placement.threads)
        for unit in units(jobs):
            yield from zip(unit, attempt([jobs[position] for position in unit], placement), strict=True)
        return
    if placement.dask is not None:
        yield from _cluster()(jobs, placement)
        return
    futures: dict[Future[list[Outcome]], list[int]] = {}
    pool = _pool(placement.workers, placement.threads, shared_gpus(placement.device))
    for unit in units(jobs):
        futures[pool.submit(attempt, [jobs[position] for position in unit], placement)] = unit
    for future in as_completed(futures):
        try:
            yield from zip(futures[future], future.result(), strict=True)
        except BrokenProcessPool:
            _close_pools()
            for position in futures[future]:
                message = "a worker process was killed (out of memory?)"
                yield position, JobFailure(jobs[position].name, message, "")


def _cluster() -> Callable[[Sequence[Job], Placement], Iterator[tuple[int, Outcome]]]:
    try:
        from atlas_core.plan.dask_cluster import outcomes_on_cluster
    except ModuleNotFoundError as error:
        raise AtlasError(
            f"Dask is not installed ({error})",
            expected="the package `distributed`, here and on every worker",
            fix="pip install 'atlas-prompt-tuning[dask]', or leave --dask out",
        ) from error
    return outcomes_on_cluster


def units(jobs: Sequence[Job]) -> list[list[int]]:
    """Positions of the jobs that one process takes: a stack's together, every other alone."""
    found: dict[object, list[int]] = {}
    for position, job in enumerate(jobs):
        found.setdefault(job.stack or position, []).append(position)
    return list(found.values())


def attempt(jobs: Sequence[Job], placement: Placement) -> list[Outcome]:
    """Run a unit's jobs, a stack's in one batch, and turn what they raise into outcomes."""
    with accounting() as together:
        if len(jobs) > 1:
            _train_together(jobs, placement)
    first, *others = jobs
    return [
        _attempt(first, placement, together.account().lines),
        *(_attempt(job, placement) for job in others),
    ]


def _train_together(jobs: Sequence[Job], placement: Placement) -> None:
    """Whatever goes wrong here, each job is then run alone and says itself what is wrong with it."""
    from atlas_core.stages.stacked_tune import train_together

    try:
        train_together(jobs, placement)
    except Exception:
        log.warning("%d runs are trained one by one, not as a stack", len(jobs), exc_info=True)


def _attempt(job: Job, placement: Placement, earlier: Sequence[LogLine] = ()) -> Outcome:
    with accounting(earlier) as kept:
        outcome = _outcome(job, placement)
    return replace(outcome, account=kept.account())


def _outcome(job: Job, placement: Placement) -> Outcome:
    try:
        return execute(job, placement)
    except AtlasError as error:
        return JobFailure(job.name, str(error), traceback.format_exc())
    except Exception as error:
        return JobFailure(job.name, f"{type(error).__name__}: {error}", traceback.format_exc())


_pools: dict[tuple[int, int, tuple[str, ...]], ProcessPoolExecutor] = {}
_lock = Lock()


def _pool(workers: int, threads: int, gpus: tuple[str, ...]) -> ProcessPoolExecutor:
    """The process pool of this size; started once, because every worker imports torch."""
    with _lock:
        if (workers, threads, gpus) not in _pools:
            context = get_context("spawn")
            # The pool never starts a worker again (it breaks as a whole), so the count of those started is
            # a worker's number, and a GPU is never held by a number that is gone.
            _pools[workers, threads, gpus] = ProcessPoolExecutor(
                workers,
                mp_context=context,
                initializer=_start_worker,
                initargs=(threads, os.getpid(), gpus, context.Value("i", 0)),
            )
        return _pools[workers, threads, gpus]


@atexit.register
def _close_pools() -> None:
    with _lock:
        for pool in _pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        _pools.clear()


def _start_worker(threads: int, parent: int, gpus: tuple[str, ...], started: Synchronized[int]) -> None:
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    see_one_gpu(gpus, number)
    Finalize(None, _end_worker, exitpriority=_AFTER_ALL_ELSE)
    import torch

    torch.set_num_threads(threads)
    log_to_stderr()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    Thread(target=_follow_parent, args=(parent,), daemon=True).start()


def _end_worker() -> None:
    """End this process at once: taking down the modules of torch and open_clip one by one takes a second and a half.

    Its results have been sent and its artifacts are on the disk when a pool lets a worker go.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def log_to_stderr() -> None:
    """Let long stages say on the standard error how they go."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("atlas_core")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _follow_parent(parent: int) -> None:
    """End this process when its parent is gone: a killed parent must not leave one that writes or holds a GPU.

    A thread that looks, because the kernel's parent-death signal follows the parent's thread, not its process.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)

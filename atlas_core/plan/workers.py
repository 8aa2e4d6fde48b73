"""Running a unit's jobs wherever a worker is, and the pools of worker processes."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import get_context, resource_tracker
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.util import Finalize
from threading import Lock, Thread

from atlas_core.errors import AtlasError
from atlas_core.interruption import stopping
from atlas_core.placement import Placement
from atlas_core.plan.devices import see_one_gpu
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


def attempt_here(jobs: Sequence[Job], placement: Placement) -> list[Outcome]:
    """`attempt` in a process that is no worker, which uses as many threads as one."""
    use_threads(placement)
    return attempt(jobs, placement)


def use_threads(placement: Placement) -> None:
    """Let torch use as many threads as the placement says."""
    import torch  # here and below: a study may be planned, and found cached, without it

    torch.set_num_threads(placement.threads)


def attempt_there(jobs: Sequence[Job], placement: Placement, registering: Sequence[str]) -> list[Outcome]:
    """`attempt` in another process.

    Args:
        registering: Modules to import first, so that names registered by them in the first process are known here.
    """
    try:
        for module in registering:
            import_module(module)
    except Exception as error:
        told = f"{module}, which registered something, cannot be imported by a worker: {error}"
        return [JobFailure(job.name, told, traceback.format_exc()) for job in jobs]
    return attempt(jobs, placement)


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
    except Exception as error:
        if stopping():  # a library made another error of Ctrl-C
            raise KeyboardInterrupt from error
        if isinstance(error, AtlasError):
            return JobFailure(job.name, str(error), traceback.format_exc())
        return JobFailure(job.name, f"{type(error).__name__}: {error}", traceback.format_exc())


_pools: dict[tuple[int, int, tuple[str, ...], bool], ProcessPoolExecutor] = {}
_lock = Lock()


@contextmanager
def signals_kept_away() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C, which a terminal sends to all of them: it is the parent's.

    The mask of blocked signals is this thread's, and a new process inherits it.
    """
    kept_away = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, kept_away)
    try:
        # It knows the semaphores and has to outlive a hang-up too; starting it unblocks Ctrl-C again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, kept_away)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def process_pool(
    workers: int, threads: int, gpus: tuple[str, ...], torch: bool, *, anew: bool = False
) -> ProcessPoolExecutor:
    """The process pool of this kind; kept, because every worker of one that computes imports torch.

    Args:
        anew: Whether the one that there is broke, and another has to take its place.
    """
    kind = (workers, threads, gpus, torch)
    with _lock:
        if anew and kind in _pools:
            _pools.pop(kind).shutdown(wait=False, cancel_futures=True)
        if kind not in _pools:
            context = get_context("spawn")
            # The pool never starts a worker again (it breaks as a whole), so the count of those started is
            # a worker's number, and a GPU is never held by a number that is gone.
            _pools[kind] = ProcessPoolExecutor(
                workers,
                mp_context=context,
                initializer=_start_worker,
                initargs=(threads, os.getpid(), gpus, torch, context.Value("i", 0)),
            )
        return _pools[kind]


@atexit.register
def _close_pools() -> None:
    with _lock:
        for pool in _pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        _pools.clear()


def _start_worker(
    threads: int, parent: int, gpus: tuple[str, ...], with_torch: bool, started: Synchronized[int]
) -> None:
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    # First, because importing torch takes seconds in which the parent may be killed.
    Thread(target=_follow_parent, args=(parent,), daemon=True).start()
    see_one_gpu(gpus, number)
    Finalize(None, _end_worker, exitpriority=_AFTER_ALL_ELSE)
    if with_torch:
        import torch

        torch.set_num_threads(threads)
    log_to_stderr()


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

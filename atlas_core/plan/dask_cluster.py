"""Running jobs on a Dask cluster: one started here, or one that a scheduler's address names.

A job travels as plain data and answers with a small reference; artifacts stay in the store, which every worker has to
see under the same path. Imported only where a placement names a cluster, because `distributed` is optional.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import dask
import torch
from distributed import Client, LocalCluster, get_worker

from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.devices import see_one_gpu, shared_gpus
from atlas_core.plan.workers import JobFailure, Outcome, attempt, units
from atlas_core.stages.stage import Job

LOCAL = "local"
# Seconds that a cluster may be without any worker before its jobs are given up.
PATIENCE = 60.0
_POLL = 2.0


def outcomes_on_cluster(
    jobs: Sequence[Job], placement: Placement, patience: float = PATIENCE
) -> Iterator[tuple[int, Outcome]]:
    """Run independent jobs on the placement's cluster.

    A job whose worker dies is given to another worker, until Dask holds the job itself to blame (the setting
    `distributed.scheduler.allowed-failures`).

    Args:
        patience: Seconds without a worker or a scheduler after which the jobs that are left count as failed.

    Yields:
        Position in `jobs` and outcome, as they end.

    Raises:
        AtlasError: No cluster can be reached, or its workers have another store or other code.
    """
    if not jobs:
        return
    client = connect(placement, patience)
    sent = _absolute(placement)
    gpus = shared_gpus(placement.device) if placement.dask == LOCAL else ()
    finished: SimpleQueue[int] = SimpleQueue()
    futures = []
    together = units(jobs)
    for number, unit in enumerate(together):
        members = [jobs[position] for position in unit]
        future = client.submit(_attempt_on_worker, members, sent, gpus, pure=False)
        future.add_done_callback(lambda _, number=number: finished.put(number))
        futures.append(future)
    waiting = set(range(len(together)))
    watch = _Watch(client, patience)
    try:
        while waiting and not watch.deserted:
            try:
                number = finished.get(timeout=_POLL)
            except Empty:
                watch.look()
                continue
            outcomes = _outcomes([jobs[position] for position in together[number]], futures[number])
            if outcomes is None:
                finished.put(number)  # asked again: Dask tells only once that a job ended
                watch.look()
                continue
            waiting.discard(number)
            yield from zip(together[number], outcomes, strict=True)
        for position in (each for number in sorted(waiting) for each in together[number]):
            message = f"the Dask cluster had no worker for {patience:.0f} seconds"
            yield position, JobFailure(jobs[position].name, message, "")
    finally:
        for number in waiting:
            with suppress(Exception):  # the cluster may be gone
                futures[number].cancel()


class _Watch:
    """Looks from time to time whether a cluster has workers; without any, Dask itself would wait for ever."""

    def __init__(self, client: Client, patience: float) -> None:
        self._client, self._patience = client, patience
        self._last_seen = time.monotonic()
        self.deserted = False

    def look(self) -> None:
        try:
            present = len(self._client.nthreads()) > 0
        except Exception:  # whatever a lost connection raises
            present = False
        if present:
            self._last_seen = time.monotonic()
        self.deserted = time.monotonic() - self._last_seen > self._patience


def _outcomes(jobs: Sequence[Job], future: Any) -> list[Outcome] | None:
    """What jobs that ended together answer; None where the answer was lost with its worker before it was fetched.

    Dask then runs them again, which finds their artifacts in the store.
    """
    try:
        outcomes: list[Outcome] = future.result(timeout=_POLL)
        return outcomes
    except TimeoutError:
        return None
    except Exception as error:
        message = f"its Dask worker was lost or the cluster closed ({type(error).__name__}: {error})"
        return [JobFailure(job.name, message, "") for job in jobs]


def _attempt_on_worker(jobs: Sequence[Job], placement: Placement, gpus: tuple[str, ...]) -> list[Outcome]:
    if gpus:
        # A local cluster's workers are numbered, and one that is started again keeps its number: no GPU is lost.
        see_one_gpu(gpus, int(get_worker().name))
    torch.set_num_threads(
        placement.threads
    )  # holds for the calling thread, and Dask runs tasks in one of its own
    return attempt(jobs, placement)


def _absolute(placement: Placement) -> Placement:
    """The same folders whatever a worker's working directory is."""
    return placement.model_copy(update={"store": placement.store_path, "data_root": placement.data_path})


_clients: dict[tuple[str, int], Client] = {}
_lock = Lock()


def connect(placement: Placement, patience: float = PATIENCE) -> Client:
    """The client of a placement's cluster, kept for as long as it is alive.

    Raises:
        AtlasError: No scheduler answers, it has no workers, or they have another store or other code.
    """
    address = placement.dask or LOCAL
    name = (address, max(1, placement.workers) if address == LOCAL else 0)
    with _lock:
        client = _clients.get(name)
        if client is None or client.status != "running":
            client = _start_local(name[1]) if address == LOCAL else _reach(address)
            _clients[name] = client
            if address != LOCAL:
                _check_workers(client, placement, address, patience)
        return client


@atexit.register
def close_clusters() -> None:
    """Let go of every cluster; workers that were started here end."""
    with _lock:
        for client in _clients.values():
            with suppress(Exception):
                if client.cluster is not None:
                    client.cluster.close(timeout=10)
                client.close(timeout=10)
        _clients.clear()


def _start_local(workers: int) -> Client:
    # A stage may start processes that decode images, which a daemon may not. Set for good: it is read again
    # whenever a worker is started again.
    dask.config.set({"distributed.worker.daemon": False})
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        memory_limit=0,  # as in a pool of processes: no worker is killed for using much
    )
    return Client(cluster)


def _reach(address: str) -> Client:
    try:
        return Client(address, timeout="15s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise AtlasError(
            f"no Dask scheduler answers at {address!r} ({error})",
            expected="the address that `dask scheduler` prints, such as tcp://10.0.0.1:8786, or 'local'",
            fix="start it, or leave --dask out to run in processes of this machine",
        ) from error


def _check_workers(client: Client, placement: Placement, address: str, patience: float) -> None:
    """Refuse workers that would write elsewhere or compute something else than the planner thinks."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError as error:
        raise AtlasError(
            f"the Dask scheduler at {address} has no workers",
            fix=f"start some: dask worker {address} --nthreads 1",
        ) from error
    root = placement.store_path
    try:
        (root / ".tmp").mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix="probe-", dir=root / ".tmp")
    except OSError as error:
        raise AtlasError(f"cannot write to the store {root}: {error.strerror}") from error
    os.close(handle)
    try:
        answers: dict[str, tuple[bool, str]] = client.run(_look, probe)
    finally:
        os.unlink(probe)
    if blind := [worker for worker, (sees, _) in answers.items() if not sees]:
        raise AtlasError(
            f"{len(blind)} of {len(answers)} Dask workers do not see the store {root}: {', '.join(blind[:3])}",
            expected="a store on a filesystem that is mounted under the same path everywhere",
            fix="name one with --store",
        )
    if other := [worker for worker, (_, code) in answers.items() if code != source_digest()]:
        raise AtlasError(
            f"{len(other)} of {len(answers)} Dask workers have other code: {', '.join(other[:3])}",
            expected="the same version of this package everywhere, because keys are made from this one's code",
            fix="install it there and start the workers again",
        )


def _look(probe: str) -> tuple[bool, str]:
    return os.path.exists(probe), source_digest()


@cache
def source_digest() -> str:
    """SHA-256 over this package's Python files, read once a process."""
    root = Path(__file__).parents[1]
    digest = sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()

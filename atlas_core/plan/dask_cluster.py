"""Running jobs on a Dask cluster: one started here, or one that a scheduler's address names.

A job travels as plain data and answers with a small reference; artifacts stay in the store, which every worker has to
see under the same path. Imported only where a placement names a cluster, because `distributed` is optional.
"""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock

import dask
from distributed import Client, LocalCluster, get_worker, secede

from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.devices import see_one_gpu, shared_gpus
from atlas_core.plan.workers import Outcome, attempt_there, signals_kept_away, use_threads
from atlas_core.registry import registering_modules
from atlas_core.stages.stage import Job
from atlas_core.store import Store

LOCAL = "local"
# Seconds that a cluster may be without any worker before its jobs are given up.
PATIENCE = 60.0
_POLL = 2.0


class DaskLane:
    """Units that the workers of the placement's cluster take.

    A job whose worker dies is given to another worker, until Dask holds the job itself to blame (the setting
    `distributed.scheduler.allowed-failures`).

    Args:
        at_once: For jobs that only wait for the network: so many at a time, and none takes a worker's place. None is
            two units for each worker thread that the cluster has.
        patience: Seconds without a worker or a scheduler after which the jobs that are left count as failed.
    """

    def __init__(self, placement: Placement, at_once: int | None = None, patience: float = PATIENCE) -> None:
        self._placement, self._at_once, self._patience = placement, at_once, patience
        self._gpus = shared_gpus(placement.device) if placement.dask == LOCAL else ()
        self._client: Client | None = None
        self._last_seen = self._looked = time.monotonic()
        self._threads = 1

    @property
    def slots(self) -> int:
        if self._at_once is not None:
            return self._at_once
        if self._client is not None and time.monotonic() - self._looked > _POLL:
            self._look()  # a cluster may grow and shrink while a study runs
        # One waits behind each that runs, so that no worker is idle while the next is chosen; Dask moves it if need be.
        return 2 * self._threads

    def submit(self, jobs: Sequence[Job], placement: Placement) -> Future[list[Outcome]]:
        """Hand over jobs.

        Raises:
            AtlasError: No cluster can be reached, or its workers have another store or other code.
        """
        if self._client is None:
            self._client = connect(self._placement, self._patience)
            self._look()
        executor = self._client.get_executor(pure=False)
        aside = self._at_once is not None
        future: Future[list[Outcome]] = executor.submit(
            _attempt_on_worker, list(jobs), _absolute(placement), registering_modules(), self._gpus, aside
        )
        return future

    def explain(self, error: Exception) -> tuple[str, bool]:
        return f"its Dask worker was lost or the cluster closed ({type(error).__name__}: {error})", False

    def deserted(self) -> str | None:
        self._look()
        if time.monotonic() - self._last_seen <= self._patience:
            return None
        return f"the Dask cluster had no worker for {self._patience:.0f} seconds"

    def _look(self) -> None:
        """See how many workers there are; without any, Dask itself would wait for ever."""
        assert self._client is not None
        self._looked = time.monotonic()
        try:
            threads = sum(self._client.nthreads().values())
        except Exception:  # whatever a lost connection raises
            threads = 0
        if threads:
            self._last_seen = self._looked
        self._threads = max(1, threads)


def _attempt_on_worker(
    jobs: Sequence[Job],
    placement: Placement,
    registering: Sequence[str],
    gpus: tuple[str, ...],
    aside: bool,
) -> list[Outcome]:
    if aside:
        secede()  # from here on another job may have this worker's place
        return attempt_there(jobs, placement, registering)
    if gpus:
        # A local cluster's workers are numbered, and one that is started again keeps its number: no GPU is lost.
        see_one_gpu(gpus, int(get_worker().name))
    use_threads(placement)  # Dask runs tasks in threads of its own, and torch counts by thread
    return attempt_there(jobs, placement, registering)


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
    logging.getLogger("distributed").setLevel(logging.ERROR)  # how its workers end is no news to a user
    with signals_kept_away():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            # Without a dashboard too it listens for HTTP: here on any free port, so that two studies do not meet.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
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
    Store(root).make()
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

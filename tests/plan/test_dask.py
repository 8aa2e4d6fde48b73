"""A Dask cluster of real processes gives the bits of one process, also when a worker is killed."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan import dask_cluster
from atlas_core.plan.dask_cluster import DaskLane
from atlas_core.plan.scheduler import Scheduler
from atlas_core.plan.session import StudySession, run_study
from atlas_core.store import Store
from tests.plan.test_interruption import is_running, tables
from tests.tiny_study import RecordingObserver, TinyWorld, make_world

SEEDS = [1, 2]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("in-process"))
    world.run(seeds=SEEDS)
    return world


@pytest.fixture(scope="module", autouse=True)
def _closed_at_the_end() -> Iterator[None]:
    yield
    dask_cluster.close_clusters()


def on_dask(world: TinyWorld, address: str = "local") -> Placement:
    return world.placement.model_copy(update={"workers": 2, "dask": address})


def run_on_dask(world: TinyWorld, address: str = "local") -> RecordingObserver:
    observer = RecordingObserver()
    run_study(world.study(seeds=SEEDS), on_dask(world, address), observer=observer)
    return observer


def digests(world: TinyWorld) -> dict[tuple[str, str], str]:
    store = Store(world.placement.store_path)
    stages = ("image_features", "csl", "isl", "tune", "evaluate")
    return {(stage, each.key): each.digest for stage in stages for each in store.manifests(stage)}


def worker_pids(world: TinyWorld) -> list[int]:
    pids: dict[str, int] = dask_cluster.connect(on_dask(world)).run(os.getpid)
    return list(pids.values())


def listening_addresses(pid: int) -> set[str]:
    """The addresses of this machine that a process accepts connections on."""
    sockets = psutil.Process(pid).net_connections(kind="inet")
    return {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}


def local_address(world: TinyWorld) -> str:
    return str(dask_cluster.connect(on_dask(world)).cluster.scheduler_address)


def test_two_dask_workers_give_the_bits_of_one_process(expected: TinyWorld, tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    observer = run_on_dask(world)
    assert not observer.failed
    assert len(worker_pids(world)) == 2
    assert os.getpid() not in worker_pids(world)
    assert digests(world) == digests(expected)
    assert tables(world) == tables(expected)
    # What the cluster made is a hit for this process.
    assert world.run(seeds=SEEDS).made == []


def test_a_cluster_started_here_listens_on_this_machine_only(world: TinyWorld) -> None:
    workers = worker_pids(world)
    listening = {pid: listening_addresses(pid) for pid in (os.getpid(), *workers)}
    assert all(listening[pid] for pid in workers)
    assert set().union(*listening.values()) == {"127.0.0.1"}


def test_a_killed_worker_costs_no_run_and_changes_no_result(expected: TinyWorld, tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    victim = worker_pids(world)[0]
    store = Store(world.placement.store_path)
    killed_after: list[int] = []

    def kill_in_the_middle() -> None:
        deadline = time.monotonic() + 60
        while (done := len(list(store.manifests("tune")))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)
        killed_after.append(done)

    killer = Thread(target=kill_in_the_middle)
    killer.start()
    # The cluster is reached by its address here, as one on other machines is.
    observer = run_on_dask(world, local_address(world))
    killer.join()
    runs = 2 * 5 * len(SEEDS)
    assert 2 <= killed_after[0] < runs
    assert not is_running(victim)
    assert not observer.failed
    assert tables(world) == tables(expected)
    assert digests(world) == digests(expected)
    made = [name for name in observer.made if name.startswith("tune/")]
    assert len(made) == len(set(made))


def test_no_worker_left_is_reported_and_does_not_hang(tmp_path: Path) -> None:
    from distributed import LocalCluster

    world = make_world(tmp_path / "home")
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0", protocol="tcp") as cluster:
        placement = on_dask(world, cluster.scheduler_address)
        dask_cluster.connect(placement)
        cluster.scale(0)
        while cluster.scheduler.workers:
            time.sleep(0.05)
        session = StudySession(world.study(seeds=SEEDS), placement)
        lane = DaskLane(placement, patience=1.0)
        lanes = dict.fromkeys(("network", "processors", "device"), lane)
        scheduler = Scheduler(session.graph, session.resolver, placement, lanes=lanes)
        scheduler.run()
    assert len(scheduler.failures) == 2  # the two datasets' first jobs
    assert all("no worker" in failure.message for failure in scheduler.failures)
    assert set(scheduler.ends) == {node.name for node in session.graph.nodes}


def test_an_address_where_nobody_answers_is_refused(world: TinyWorld, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="no Dask scheduler"):
        run_on_dask(make_world(tmp_path / "new"), "nowhere")


def test_workers_with_other_code_or_another_store_are_refused(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = local_address(world)
    client = dask_cluster._reach(address)
    monkeypatch.setattr(dask_cluster, "source_digest", lambda: "another")
    with pytest.raises(AtlasError, match="other code"):
        dask_cluster._check_workers(client, world.placement, address, 10.0)
    monkeypatch.setattr(client, "run", lambda *_: {"tcp://elsewhere:1": (False, "another")})
    with pytest.raises(AtlasError, match="do not see the store"):
        dask_cluster._check_workers(client, world.placement, address, 10.0)
    client.close()


def test_without_dask_the_message_says_what_to_install(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "atlas_core.plan.dask_cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(AtlasError, match=r"\[dask\]"):
        StudySession(world.study(), on_dask(world))

"""A deployment run loses a process to SIGKILL: started again, it ends as if nothing had happened."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from atlas_core.store import Store
from tests.flows.serving import run_deployment, served, start_deployment, tiny_parameters
from tests.tiny_study import TinyWorld, make_world

SEEDS = [1, 2, 3]
TABLES = ("metrics", "predictions", "curves", "classes")


@pytest.fixture
def prefect(tmp_path: Path) -> Path:
    folder = tmp_path / "prefect"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    world = make_world(tmp_path_factory.mktemp("undisturbed"))
    world.run(seeds=SEEDS)
    return tables(world)


def tables(world: TinyWorld) -> dict[str, object]:
    """The result tables without what differs between two executions: times and dates."""
    store = Store(world.placement.store_path)
    newest = max(store.manifests("aggregate"), key=lambda manifest: manifest.created)
    folder = store.path("aggregate", newest.key)
    return {name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in TABLES}


def processes(home: Path) -> Iterator[psutil.Process]:
    """What a server in this home started."""
    for each in psutil.process_iter():
        try:
            if each.environ().get("PREFECT_HOME") == str(home):
                yield each
        except psutil.Error:
            continue


def victims(kind: str, home: Path) -> list[psutil.Process]:
    """The training processes, the process that runs the flow, or that one and the worker that started it."""
    training = [each for each in processes(home) if "spawn_main" in " ".join(each.cmdline())]
    training = [each for each in training if "resource_tracker" not in " ".join(each.cmdline())]
    if kind == "training":
        return training
    flow = training[0].parent()
    assert flow is not None
    if kind == "flow":
        return [flow]
    return [flow, *(each for each in processes(home) if "worker start" in " ".join(each.cmdline()))]


def finished_runs(world: TinyWorld) -> dict[str, float]:
    """Names of the runs in the store, and when each was made."""
    return {each.name: each.created for each in Store(world.placement.store_path).manifests("tune")}


def wait_until(condition: object, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "kind",
    [
        "training",
        pytest.param("flow", marks=pytest.mark.slow),
        pytest.param("worker", marks=pytest.mark.slow),
    ],
)
def test_a_deployment_run_survives_the_kill_of_its(
    kind: str, prefect: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    world = make_world(tmp_path / "world")
    parameters = tiny_parameters(world, seeds=SEEDS)
    with served(prefect) as environment:
        watching = start_deployment("base-to-new/demo", parameters, environment, tmp_path)
        wait_until(lambda: len(finished_runs(world)) >= 3)
        for victim in victims(kind, prefect):
            os.kill(victim.pid, signal.SIGKILL)
        if kind == "training":
            # Its jobs are given to new processes, and go on from their checkpoints.
            assert watching.wait(timeout=240) == 0
        elif kind == "worker":
            # As when the machine goes down: nobody is left who would say that the flow run crashed.
            watching.kill()
        else:
            assert watching.wait(timeout=240) != 0
        watching.communicate()
    wait_until(lambda: not [each for each in processes(prefect) if "spawn_main" in " ".join(each.cmdline())])
    before = finished_runs(world)
    assert len(before) >= 3

    with served(prefect) as environment:
        status, printed = run_deployment("base-to-new/demo", parameters, environment, tmp_path)
    assert status == 0, printed
    after = finished_runs(world)
    assert len(after) == 30
    # No finished run is lost, and none of them was made again.
    assert {name: after[name] for name in before} == before
    assert tables(world) == undisturbed
    left = Store(world.placement.store_path).root / ".work"
    assert not [each for each in left.iterdir() if each.is_dir()]

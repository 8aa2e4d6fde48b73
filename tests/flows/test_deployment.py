"""The documented sequence: `make serve`'s command, then `prefect deployment run` from some other folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a terminal beside a running `python -m flows.serve`."""
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(CHECKOUT),
    }
    log = (folder / "serve.log").open("wb")
    command = [sys.executable, "-m", "flows.serve", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        wait_for_worker(environment["PREFECT_API_URL"], process, folder / "serve.log")
        yield environment
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_worker(api: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            answer = httpx.post(f"{api}/work_pools/atlas/workers/filter", json={}, timeout=5)
            if answer.is_success and any(worker["status"] == "ONLINE" for worker in answer.json()):
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    raise AssertionError(f"no worker came up: {log.read_text()[-3000:]}")


def run_deployment(
    name: str, parameters: dict[str, object], environment: dict[str, str], cwd: Path
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "prefect", "deployment", "run", name, "--watch"]
    command += ["--params", json.dumps(parameters)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


def tiny_parameters(world: TinyWorld) -> dict[str, object]:
    raw = world.raw_study()
    fields = ("methods", "supervisions", "shots", "seeds", "backbone", "views", "training")
    return {
        "datasets": raw["datasets"],
        "overrides": {field: raw[field] for field in fields},
        "placement": {"home": str(world.home), "workers": 1},
    }


def test_deployments_run_from_any_folder_and_refuse_unknown_names(
    serving: dict[str, str], tmp_path: Path
) -> None:
    world = make_world(tmp_path / "world")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    listed = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "ls"],
        env=serving,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in ("base-to-new/demo", "base-to-new/full", "benchmark/demo", "benchmark/full"):
        assert name in listed

    finished = run_deployment("base-to-new/demo", tiny_parameters(world), serving, elsewhere)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    store = Store(world.placement.store_path)
    assert len(list(store.manifests("aggregate"))) == 1
    assert len(list(store.manifests("evaluate"))) == 20
    assert list(elsewhere.iterdir()) == []

    wrong = {**tiny_parameters(world), "datasets": ["demo_shape"]}
    refused = run_deployment("base-to-new/demo", wrong, serving, elsewhere)
    assert refused.returncode != 0

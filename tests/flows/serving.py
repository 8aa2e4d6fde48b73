"""A server with the deployments and a worker, as `make serve` starts them, and what a user does beside it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.tiny_study import TinyWorld

CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """`python -m flows.serve` with its server's files in a folder; the environment of a terminal beside it."""
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


def password() -> tuple[str, str] | None:
    """Name and password of Prefect's API, where the environment has them."""
    name, _, secret = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return (name, secret) if name else None


def wait_for_worker(api: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            answer = httpx.post(f"{api}/work_pools/atlas/workers/filter", json={}, timeout=5, auth=password())
            if answer.is_success and any(worker["status"] == "ONLINE" for worker in answer.json()):
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    raise AssertionError(f"no worker came up: {log.read_text()[-3000:]}")


def start_deployment(
    name: str, parameters: dict[str, object], environment: dict[str, str], cwd: Path
) -> "subprocess.Popen[str]":
    """`prefect deployment run NAME --watch` with parameters, started."""
    command = [sys.executable, "-m", "prefect", "deployment", "run", name, "--watch"]
    command += ["--params", json.dumps(parameters)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_deployment(
    name: str, parameters: dict[str, object], environment: dict[str, str], cwd: Path
) -> tuple[int, str]:
    """The same to its end: exit status and what it printed."""
    process = start_deployment(name, parameters, environment, cwd)
    printed, _ = process.communicate(timeout=400)
    return process.returncode, printed


def tiny_parameters(world: TinyWorld, **overrides: object) -> dict[str, object]:
    raw = world.raw_study(**overrides)
    fields = ("methods", "supervisions", "shots", "seeds", "backbone", "views", "training")
    return {
        "datasets": raw["datasets"],
        "overrides": {field: raw[field] for field in fields},
        "placement": {"home": str(world.home), "workers": 1},
    }

"""`make serve`: a server on this machine, the deployments, and a worker that runs them; Ctrl-C ends all of it.

python -m flows.serve [--port 4200]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

CHECKOUT = Path(__file__).resolve().parents[1]
POOL = "atlas"
_START_SECONDS = 180


def main() -> None:
    """Start everything in order, then wait for the worker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=4200)
    port = parser.parse_args().port
    api = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_API_URL": api, "ATLAS_CHECKOUT": str(CHECKOUT)}
    # Bound to this machine: the server has no password.
    server = start("server", "start", "--host", "127.0.0.1", "--port", str(port), environment=environment)
    try:
        wait_for(api, server)
        run("work-pool", "create", POOL, "--type", "process", "--overwrite", environment=environment)
        run("--no-prompt", "deploy", "--all", environment=environment)
        print(f"\nReady. In another terminal:\n\n  export PREFECT_API_URL={api}")
        print(
            "  prefect deployment run base-to-new/demo --watch\n\nCtrl-C here stops everything.\n", flush=True
        )
        worker = start("worker", "start", "--pool", POOL, "--type", "process", environment=environment)
        try:
            worker.wait()
        finally:
            stop(worker)
    except KeyboardInterrupt:
        print("stopping")
    finally:
        stop(server)


def start(*arguments: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a Prefect command and return at once."""
    return subprocess.Popen([sys.executable, "-m", "prefect", *arguments], cwd=CHECKOUT, env=environment)


def run(*arguments: str, environment: dict[str, str]) -> None:
    """Run a Prefect command to its end.

    Raises:
        SystemExit: It failed; its own message stands above.
    """
    command = [sys.executable, "-m", "prefect", *arguments]
    if subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode != 0:
        raise SystemExit(f"`prefect {' '.join(arguments)}` failed; see its message above")


def wait_for(api: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers.

    Raises:
        SystemExit: It ended, or did not answer in time.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(
                f"the Prefect server ended at once (status {server.returncode}); is the port taken?"
            )
        try:
            if httpx.get(f"{api}/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"the Prefect server did not answer at {api} within {_START_SECONDS} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, kindly first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()

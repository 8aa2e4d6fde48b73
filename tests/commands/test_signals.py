"""Ctrl-C, SIGTERM and SIGHUP at any moment: one line, the status that shells expect, and nobody left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from atlas_core.interruption import STOPPED
from tests.tiny_study import TinyWorld, make_world
from tests.torture.running import as_from_a_terminal, session_of, start_command, wait_until_ours

# So many that no machine is done before the signal comes.
SEEDS = list(range(1, 13))


def start(world: TinyWorld, *options: str) -> "subprocess.Popen[str]":
    study = world.home / "tiny.yaml"
    study.write_text(yaml.safe_dump(world.raw_study(seeds=SEEDS)))
    return start_command(world.home, "run", str(study), "--quiet", *options)


def check_ended(process: "subprocess.Popen[str]", children: list[psutil.Process], status: int) -> None:
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert err.strip() == STOPPED
    assert out == ""
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def run(command: list[str], environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, preexec_fn=as_from_a_terminal
    )


def moments(count: int) -> list[float]:
    """Seconds after the start, drawn once; those at which Python itself has not come to this project are left out."""
    drawn = random.Random(7)
    return [round(drawn.uniform(0.3, 8.0), 2) for _ in range(count)]


@pytest.mark.parametrize("after", moments(5))
def test_ctrl_c_at_any_moment_is_one_line(tmp_path: Path, after: float) -> None:
    process = start(make_world(tmp_path / "home"), "--workers", "2")
    wait_until_ours(process)
    time.sleep(after)
    children = session_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    check_ended(process, children, 130)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_have_the_status_that_shells_expect(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process = start(make_world(tmp_path / "home"), "--workers", "1")
    wait_until_ours(process)
    time.sleep(4)
    children = session_of(process.pid)
    process.send_signal(number)
    check_ended(process, children, status)


def test_ctrl_c_ends_a_local_cluster_without_a_word_of_its_own(tmp_path: Path) -> None:
    process = start(make_world(tmp_path / "home"), "--workers", "2", "--dask", "local")
    wait_until_ours(process)
    time.sleep(6)
    children = session_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    check_ended(process, children, 130)


def test_a_second_ctrl_c_ends_a_command_at_once(tmp_path: Path) -> None:
    script = (
        "import time\nfrom atlas_core.interruption import Interruptions\n"
        "with Interruptions():\n"
        "    try:\n        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n        print('tidying', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=as_from_a_terminal,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == STOPPED


def test_what_a_half_imported_module_makes_of_ctrl_c_does_not_matter(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom atlas_core.interruption import Interruptions\n"
        "with Interruptions():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt as error:\n        raise ImportError('half imported') from error\n"
    )
    done = run([sys.executable, "-c", script])
    assert (done.returncode, done.stderr.strip()) == (130, STOPPED)


@pytest.mark.parametrize("quiet", [True, False])
def test_what_a_library_makes_of_ctrl_c_in_a_job_does_not_matter(tmp_path: Path, quiet: bool) -> None:
    world = make_world(tmp_path / "home")
    study = world.home / "tiny.yaml"
    study.write_text(yaml.safe_dump(world.raw_study()))
    script = (
        "import os, signal, sys\nfrom atlas_core.interruption import Interruptions\n"
        "from atlas_core.errors import AtlasError\nfrom atlas_core.plan import workers\n"
        "def execute(job, placement):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt as error:\n        raise AtlasError('cannot be read') from error\n"
        "workers.execute = execute\nfrom atlas_core.cli import main\n"
        "with Interruptions():\n    main()\n"
    )
    command = [sys.executable, "-c", script, "run", str(study), "--workers", "0", *["--quiet"] * quiet]
    environment = {**os.environ, "ATLAS_HOME": str(world.home), "OMP_NUM_THREADS": "1"}
    done = run(command, environment)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, STOPPED)
    assert "cannot be read" not in done.stdout + done.stderr


def test_a_signal_after_all_is_done_changes_nothing(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom atlas_core.interruption import Interruptions\n"
        "class Last:\n"
        "    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):\n        kill(pid, number)\n"
        "with Interruptions():\n    import sys\n    sys.last = Last()\n"
    )
    done = run([sys.executable, "-c", script])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_while_pools_and_clusters_close_is_one_line(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom atlas_core.interruption import Interruptions\n"
        "with Interruptions():\n    import atexit\n    atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
    )
    done = run([sys.executable, "-c", script])
    assert (done.returncode, done.stderr.strip()) == (143, STOPPED)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m atlas_core.start presets | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_an_ignored_hang_up_stays_ignored(tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom atlas_core.interruption import Interruptions\n"
        "with Interruptions():\n    os.kill(os.getpid(), signal.SIGHUP)\n    print('on')\n"
    )
    command = f"trap '' HUP; {sys.executable} -c \"{script}\""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "on\n"

"""A study that runs as a command of its own, with every process it starts in one session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil


def as_from_a_terminal() -> None:
    """To be called in a new process: what is started in a shell's background ignores Ctrl-C, and so do its children."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def start_command(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """`atlas …` in a session of its own, its output kept for later."""
    return subprocess.Popen(
        [sys.executable, "-m", "atlas_core.start", *arguments],
        env={**os.environ, "ATLAS_HOME": str(home), "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=as_from_a_terminal,
    )


def wait_until_ours(process: subprocess.Popen[str]) -> None:
    """Until Python has started and signals are handled: the kernel says which ones are caught."""
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if int(fields.get("SigCgt", "0"), 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError(f"the command did not start: {process.communicate()}")


def session_of(leader: int) -> list[psutil.Process]:
    """The living processes of a session, but its leader; those of a leader that has ended too."""
    found = []
    for pid in psutil.pids():
        try:
            if pid != leader and os.getsid(pid) == leader:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def workers_of(leader: int) -> list[psutil.Process]:
    """The processes of a session that work: all but its leader and multiprocessing's keeper of semaphores."""
    found = []
    for process in session_of(leader):
        try:
            if "resource_tracker import" not in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def outlived(leader: int, seconds: float) -> list[psutil.Process]:
    """Wait until nothing of an ended session lives: what still does after that time."""
    began = time.monotonic()
    while (alive := session_of(leader)) and time.monotonic() - began < seconds:
        time.sleep(0.02)
    return alive

"""Temporary folders in a store that name the process that writes to them, and those whose process is gone."""

from __future__ import annotations

import os
import re
import shutil
import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

# How this program names temporary folders in a store; what is named otherwise is somebody else's.
_NAMED = re.compile(r"~(?P<host>[^~]+)~(?P<pid>\d+)~")


@lru_cache(maxsize=1)
def host_of_processes() -> str:
    """Where this process's number means something: this machine's name, and its namespace of process numbers.

    Containers may share a machine's name, and none sees the processes of another.
    """
    name = socket.gethostname()
    try:
        return f"{name}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return name


def writer() -> str:
    """Part of a temporary folder's name that says which process writes to it: `~<host>~<pid>~`."""
    return f"~{host_of_processes()}~{os.getpid()}~"


def has_writer(name: str) -> bool | None:
    """Whether the process that a folder is named after still runs; None where that cannot be known from here."""
    named = _NAMED.search(name)
    if named is None or named["host"] != host_of_processes():
        return None
    return runs(int(named["pid"]))


def runs(pid: int) -> bool:
    """Whether there is a process of this number here."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's process
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to notice; in a container none may ever do so."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # gone meanwhile, or a system without /proc
        return False


def is_temporary(name: str) -> bool:
    """Whether this program named a folder so."""
    return _NAMED.search(name) is not None


def remove_left_behind(store: Path) -> None:
    """Remove temporary folders of a store whose writer was killed; those that others may write to stay."""
    with suppress(OSError):  # there are none yet, or they are another user's
        for entry in os.scandir(store / ".tmp"):
            if entry.is_dir(follow_symlinks=False) and has_writer(entry.name) is False:
                shutil.rmtree(entry.path, ignore_errors=True)

"""Temporary folders of a store whose process was killed: nobody will ever finish or remove them."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from atlas_core.store import Store, hostname

# How this program names a temporary folder; what is named otherwise is somebody else's.
_TEMPORARY = re.compile(r"~(?P<host>[^~]+)~(?P<pid>\d+)~")

# A folder of another host counts as given up after so long without a change.
GIVEN_UP_SECONDS = 24 * 3600.0


def left_behind(store: Store, now: float) -> Iterator[Path]:
    """The temporary folders whose writer is gone; `now` in seconds since the epoch."""
    for folder in folders_in(store.root / ".tmp"):
        named = _TEMPORARY.search(folder.name)
        if named is not None and not _has_writer(folder, named["host"], int(named["pid"]), now):
            yield folder


def remove_left_behind(store: Store) -> None:
    """Remove what killed processes of this machine were writing; another one of this machine may do so too."""
    for folder in left_behind(store, time.time()):
        shutil.rmtree(folder, ignore_errors=True)


def folders_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


def age(folder: Path, now: float) -> float:
    """Seconds since anything in the folder changed; a folder that vanishes meanwhile changed just now."""
    newest = folder.stat().st_mtime if folder.exists() else now
    for path in folder.rglob("*"):
        try:
            newest = max(newest, path.lstat().st_mtime)
        except FileNotFoundError:
            continue
    return now - newest


def _has_writer(folder: Path, host: str, pid: int, now: float) -> bool:
    """Whether the process that a temporary folder is named after may still be writing to it."""
    if host != hostname():
        return age(folder, now) < GIVEN_UP_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
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

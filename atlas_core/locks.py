"""One writer at a time, on any file system.

The kernel's lock (flock) where there is one. Some network file systems answer ENOSYS, ENOLCK or EOPNOTSUPP to it; there
a file stands for the lock, made by whoever is first, with the holder's host and process number in it. One whose process
is gone from this host is taken over.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import tempfile
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

log = logging.getLogger(__name__)

# A marker has a name of its own: an empty lock file that a killed process left says nothing of who held it.
MARKER = ".holder"
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})


def lock_on(path: Path) -> BaseFileLock:
    """A lock that is not held yet.

    Args:
        path: Its file, in a folder that exists; `<path>.holder` on a file system without locks.

    Raises:
        OSError: Nothing can be written beside it.
    """
    return FileLock(path) if keeps_locks(path.parent) else SoftFileLock(f"{path}{MARKER}")


def held(path: Path) -> AbstractContextManager[object]:
    """A lock that is held, as soon as nobody else holds it, and that the end of a `with` releases.

    Raises:
        OSError: Nothing can be written beside it.
    """
    lock = lock_on(path)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        if isinstance(lock, SoftFileLock):  # it may be that of another host, which cannot be asked
            log.warning(
                "waiting for whoever holds %s; delete that file if its process was killed", lock.lock_file
            )
        return lock.acquire()


@lru_cache(maxsize=64)
def keeps_locks(folder: Path) -> bool:
    """Whether the kernel locks files in a folder. Asked once: a process doesn't change its mind while it holds locks.

    Raises:
        OSError: Nothing can be written there.
    """
    with tempfile.TemporaryFile(dir=folder) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
    return True

"""Time and memory of one piece of work in this process."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all its threads, during one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that CPU seconds are the work's and not the waiting's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def peak_gigabytes(work: Callable[[], object]) -> float | None:
    """The most memory that this process held during one call, weights and libraries included (Linux; else None)."""
    return cpu_and_peak(work)[1]


def cpu_and_peak(work: Callable[[], object]) -> tuple[float, float | None]:
    """CPU seconds, and peak memory in GB, of one call."""
    resettable = _forget_peak()
    seconds = cpu_seconds(work)
    if not resettable:
        return seconds, None
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    line = next((each for each in status.splitlines() if each.startswith("VmHWM:")), None)
    return seconds, None if line is None else int(line.split()[1]) * 1024 / 1e9


def _forget_peak() -> bool:
    """Hand free memory back and set the high-water mark to what is held now; False where the system cannot."""
    gc.collect()
    try:
        # What earlier work freed and the C library kept would count as held.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return False
    return True

"""Time and memory of one piece of work in this process."""

from __future__ import annotations

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
    try:
        # 5 sets the high-water mark of the resident memory back to what is resident now.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    work()
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    line = next((each for each in status.splitlines() if each.startswith("VmHWM:")), None)
    return None if line is None else int(line.split()[1]) * 1024 / 1e9

"""Where and when a job ran, and what was logged meanwhile: it travels back with the job's outcome.

A job may run in this process, in a worker process or on another machine. What comes back with its answer needs no
file or queue that all of them can reach.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from atlas_core.store import hostname

# Of a job that logs more, the newest are kept.
MOST_LINES = 1000
_LOGGER = "atlas_core"


@dataclass(frozen=True)
class LogLine:
    """One thing that was logged.

    Attributes:
        time: Seconds since the epoch.
        traceback: Of the exception that was logged with it, or None.
    """

    time: float
    level: str
    logger: str
    message: str
    traceback: str | None = None


@dataclass(frozen=True)
class Account:
    """Where and when a job ran.

    Attributes:
        started: Seconds since the epoch.
        seconds: By the clock, from then to its end.
        lines: What this project's code logged meanwhile.
    """

    pid: int
    host: str
    started: float
    seconds: float
    lines: tuple[LogLine, ...]

    @property
    def warnings(self) -> list[str]:
        """What it logged that its owner should see."""
        return [line.message for line in self.lines if line.level == "WARNING"]


class Accounting(logging.Handler):
    """Keeps the account of one block.

    Args:
        before: Lines that belong to it and were logged earlier.
    """

    running = 0  # blocks that are open in this process

    def __init__(self, before: Iterable[LogLine] = ()) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(before, maxlen=MOST_LINES)
        self._started, self._clock = time.time(), time.perf_counter()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(line_of(record))
        except Exception:  # a message that does not fit its arguments
            self.handleError(record)

    def account(self) -> Account:
        """The account so far."""
        seconds = time.perf_counter() - self._clock
        return Account(os.getpid(), hostname(), self._started, seconds, tuple(self._lines))


@contextmanager
def accounting(before: Iterable[LogLine] = ()) -> Iterator[Accounting]:
    """Keep account of what runs in the block."""
    kept = Accounting(before)
    Accounting.running += 1
    try:
        with listening(kept):
            yield kept
    finally:
        Accounting.running -= 1


@contextmanager
def listening(handler: logging.Handler) -> Iterator[None]:
    """Give a handler what this project logs in the block.

    A logger without handlers shows its warnings on the standard error; it still does so with this one.
    """
    logger = logging.getLogger(_LOGGER)
    shown = None if logger.hasHandlers() else logging.lastResort
    added = [each for each in (shown, handler) if each is not None]
    for each in added:
        logger.addHandler(each)
    try:
        yield
    finally:
        for each in added:
            logger.removeHandler(each)


def line_of(record: logging.LogRecord) -> LogLine:
    """A record of Python's logging as plain text that another process can be sent."""
    trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
    return LogLine(record.created, record.levelname, record.name, record.getMessage(), trace)

"""Ctrl-C, SIGTERM, SIGHUP and a closed pipe: one line, the status that shells expect, and no process left behind.

Artifacts are written whole or not at all, so a command may end at any moment and nothing has to be brought to an end.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from threading import Event, Thread
from types import FrameType, TracebackType

# Whatever cannot be interrupted (a long call into C) has so many seconds before the process ends under it.
GRACE_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = "stopped; everything that was finished is kept. Run the same command again to go on."


_stopping = Event()


def stopping() -> bool:
    """Whether a signal has come and this process is on its way to its end: what fails now fails because of it."""
    return _stopping.is_set()


class Interruptions:
    """In the block, a signal unwinds the main thread as `KeyboardInterrupt`, and the process ends with it.

    What the interruption is turned into on its way up (an `ImportError` of a module that was half imported, say) does
    not matter: once a signal has come, the process ends with one line. A second signal ends it at once.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._ended = Event()

    def __enter__(self) -> Interruptions:
        # For the helper that multiprocessing starts: it clears semaphores away after a process that ended at once, and
        # need not warn of it.
        sys.warnoptions.append("ignore:resource_tracker:UserWarning")
        # Registered before all others, so that it is the last to be called.
        atexit.register(self._too_late)
        for number in _SIGNALS:
            # One that is ignored stays so: `nohup atlas run …` survives its terminal.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._received is None and isinstance(error, KeyboardInterrupt):
            self._received = signal.SIGINT
        if self._received is not None:
            self._end()
        if isinstance(error, BrokenPipeError):
            # Whoever read the output has gone (`atlas table … | head -1`).
            _leave(128 + signal.SIGPIPE)

    def _too_late(self) -> None:
        """From here on Python takes down its modules, with no handlers: what was asked for is done or was told of."""
        if self._received is not None:
            self._end()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            self._end()
        self._received = number
        _stopping.set()
        # What is thrown away while the main thread unwinds is nobody's concern.
        sys.unraisablehook = lambda _: None
        Thread(target=self._end_later, daemon=True).start()
        raise KeyboardInterrupt

    def _end_later(self) -> None:
        if not self._ended.wait(GRACE_SECONDS):
            self._end()

    def _end(self) -> None:
        self._ended.set()
        _say(STOPPED)
        _leave(128 + (self._received or signal.SIGINT))


def _say(line: str) -> None:
    # A progress bar hides the cursor and leaves its line unfinished.
    terminal = os.isatty(2)
    text = f"\x1b[?25h\r\x1b[2K{line}\n" if terminal else f"{line}\n"
    with suppress(OSError):  # a terminal that has gone
        os.write(2, text.encode())


def _leave(status: int) -> None:
    """End this process and its workers at once."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for child in multiprocessing.active_children():
            child.kill()
        # Named semaphores would else be cleared away by multiprocessing's own helper, with a warning.
        multiprocessing.util._run_finalizers(0)
    os._exit(status)

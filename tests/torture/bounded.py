"""Reading inputs in a child process that may take so much memory and time and no more."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from atlas_core.errors import AtlasError

# Of the processor, not of the clock: how loaded the machine is, is not what is tested.
SECONDS = 10.0
BYTES = 1_500_000_000
# Of the clock: then the child is killed, which waits for something or is in code that no signal interrupts.
HUNG_SECONDS = 120.0


class TooSlowError(BaseException):
    """The time of one input is over; no `except Exception` takes it for its own."""


@dataclass
class Tally:
    """How the inputs of one format ended.

    Attributes:
        faults: What went wrong and where → how often; at most one input of each is kept.
    """

    results: int = 0
    refused: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        return self.results + self.refused + sum(self.faults.values())

    def add(self, other: Tally) -> None:
        self.results += other.results
        self.refused += other.refused
        for what, times in other.faults.items():
            self.faults[what] = self.faults.get(what, 0) + times


Read = Callable[[Path], object]


@dataclass
class Reader:
    """Reads one input after the other, each in a new folder, and tallies how it went."""

    read: Read
    folder: Path
    kept: Path
    tally: Tally = field(default_factory=Tally)

    def __call__(self, write: Callable[[Path], None]) -> None:
        """Let `write` fill a folder, then read it."""
        place = self.folder / "input"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        write(place)
        try:
            with _limited_time():
                self.read(place)
        except AtlasError as error:
            if error.what.strip() and str(error):
                self.tally.refused += 1
            else:
                self._fault("an AtlasError that says nothing")
        except (Exception, TooSlowError) as error:
            self._fault(_told(error))
        else:
            self.tally.results += 1

    def _fault(self, what: str) -> None:
        if what not in self.tally.faults:
            keep(self.folder / "input", self.kept, what)
        self.tally.faults[what] = self.tally.faults.get(what, 0) + 1


def in_child(
    work: Callable[[Reader], object], read: Read, folder: Path, kept: Path, bytes: int = BYTES
) -> Tally:
    """Let `work` feed inputs to a reader in a child process, and return the tally.

    A child that is killed, or that hangs where no signal reaches it, is a fault of the input it was reading.

    Args:
        folder: Scratch.
        kept: Where inputs that went wrong are put.
    """
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(sending, work, Reader(read, folder, kept), bytes))
    child.start()
    sending.close()
    hung = _watch(child, folder)
    tally = Tally()
    try:
        tally = receiving.recv()
    except EOFError:
        what = "hung" if hung else f"killed (exit {child.exitcode})"
        keep(folder / "input", kept, what)
        tally.faults[what] = 1
    child.join()
    shutil.rmtree(folder, ignore_errors=True)
    return tally


def keep(place: Path, kept: Path, what: str) -> None:
    """Copy an input and what went wrong with it."""
    target = kept / f"{time.time_ns()}"
    if place.is_dir():
        shutil.copytree(place, target / "input", symlinks=True)
    target.mkdir(parents=True, exist_ok=True)
    (target / "fault.txt").write_text(what + "\n", encoding="utf-8", errors="backslashreplace")


def _work(sending: Connection, work: Callable[[Reader], object], reader: Reader, bytes: int) -> None:
    limit = _address_space() + bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    work(reader)
    sending.send(reader.tally)
    sending.close()
    os._exit(0)


def _watch(child: multiprocessing.process.BaseProcess, folder: Path) -> bool:
    """Wait for the child; True when it had to be killed because one input took too long."""
    while child.is_alive():
        child.join(0.2)
        try:
            since = (folder / "input").stat().st_mtime
        except OSError:
            continue
        if child.is_alive() and time.time() - since > HUNG_SECONDS:
            child.kill()
            child.join()
            return True
    return False


@contextmanager
def _limited_time() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooSlowError(f"more than {SECONDS:.0f} seconds")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _told(error: BaseException) -> str:
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "atlas_core" in each.filename]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {str(error)[:160]}"


def _address_space() -> int:
    pages = (
        int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 1 << 22
    )
    return pages * resource.getpagesize()

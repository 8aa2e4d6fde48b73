"""A study's log as JSON lines: one object a line, appended, for programs to read."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atlas_core.errors import AtlasError
from atlas_core.manifest import Manifest
from atlas_core.plan.node import Node
from atlas_core.plan.observers import Observer, Observers
from atlas_core.plan.session import StudySession
from atlas_core.plan.workers import JobFailure, Outcome
from atlas_core.stages.account import Accounting, LogLine, line_of, listening
from atlas_core.stages.stage import Job
from atlas_core.store import hostname
from atlas_core.understanding.study import Understanding
from atlas_core.understanding.text import understanding_lines

# Every line has every field, null where there is nothing to say, so that readers agree on the columns.
FIELDS = (
    "time",
    "level",
    "logger",
    "message",
    "event",
    "run",
    "study",
    "stage",
    "job",
    "key",
    "seconds",
    "cached",
    "started",
    "pid",
    "host",
    "error",
    "traceback",
)


class RunLog:
    """An observer that appends what happens in one execution of a study to a file.

    The execution has an id of its own, `run`, which all of its lines carry. Lines are written whole, by one call, so
    several processes may append to one file of a local disk.
    """

    def __init__(self, file: Path, study: str) -> None:
        self.file = file
        try:
            self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise AtlasError(
                f"cannot write the log {file}: {error.strerror}",
                expected="a file in a folder that exists and may be written to",
                fix="name another with --log-file",
            ) from error
        self._about = {"run": str(uuid.uuid4()), "study": study}
        self._jobs: dict[str, Job] = {}
        self._counts = {"made": 0, "cached": 0, "failed": 0}
        self._started = time.perf_counter()

    # --- a study, as an observer is told of it ---------------------------------------------------------

    def begin(self, session: StudySession) -> None:
        self._left = len(session.graph.nodes)
        runs = len(session.graph.of_stage("tune"))
        self.write(
            f"{session.study.name}: {runs} runs, {self._left} artifacts, store {session.resolver.store.root}",
            event="study_started",
        )

    def understood(self, understanding: Understanding) -> None:
        text = "\n".join(understanding_lines(understanding))
        self.write(text, level="WARNING" if understanding.oddities else "INFO", event="understood")

    def queued(self, job: Job) -> None:
        self._jobs[job.name] = job
        self.write(f"queued {job.name}", event="job_queued", **_named(job))

    def cached(self, node: Node, manifest: Manifest) -> None:
        self._ended("cached")
        about = {"stage": node.stage, "job": node.name, "key": manifest.key}
        self.write(f"cached {node.name}", event="job_cached", cached=True, **about)

    def done(self, outcome: Outcome) -> None:
        job, account = self._jobs.get(outcome.name), outcome.account
        about: dict[str, Any] = _named(job) if job is not None else {"job": outcome.name}
        if account is not None:
            about |= {"pid": account.pid, "host": account.host}
            for line in account.lines:
                self.repeat(line, **about)
            about |= {"started": _utc(account.started), "seconds": account.seconds}
        if isinstance(outcome, JobFailure):
            self._ended("failed")
            about |= {"event": "job_failed", "error": outcome.message, "traceback": outcome.trace or None}
            self.write(f"failed {outcome.name}: {outcome.message}", level="ERROR", **about)
        elif outcome.cached:
            self._ended("cached")
            self.write(f"cached {outcome.name}", event="job_cached", cached=True, **about)
        else:
            self._ended("made")
            about |= {"event": "job_made", "cached": False, "seconds": outcome.wall_seconds}
            self.write(f"made {outcome.name} in {outcome.wall_seconds:.2f} s", **about)

    def end(self, session: StudySession) -> None:
        told = ", ".join(f"{count} {what}" for what, count in self._counts.items())
        self.write(
            f"{session.study.name}: {told}, {self._left} left",
            level="ERROR" if session.failures else "INFO",
            event="study_ended",
            seconds=time.perf_counter() - self._started,
        )

    def _ended(self, how: str) -> None:
        self._counts[how] += 1
        self._left -= 1

    # --- lines -----------------------------------------------------------------------------------------

    def write(self, message: str, *, level: str = "INFO", **fields: Any) -> None:
        """Append a line about now; `fields` are those of `FIELDS`."""
        given = {"time": _utc(time.time()), "logger": __name__, "pid": os.getpid(), "host": hostname()}
        self._append(given | {"level": level, "message": message} | self._about | fields)

    def repeat(self, line: LogLine, **fields: Any) -> None:
        """Append what was logged, in this process or another, at its own time."""
        given = {"time": _utc(line.time), "level": line.level, "logger": line.logger, "message": line.message}
        self.write(**(given | {"event": "log", "traceback": line.traceback} | fields))

    def _append(self, fields: dict[str, Any]) -> None:
        text = json.dumps({name: fields.get(name) for name in FIELDS}, ensure_ascii=False)
        try:
            os.write(self._descriptor, f"{text}\n".encode("utf-8", "replace"))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """A log that cannot be written is no reason to lose a study."""
        if self._descriptor >= 0:
            self.close()
            print(f"the log {self.file} is not written any more: {error.strerror}", file=sys.stderr)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _named(job: Job) -> dict[str, Any]:
    return {"stage": job.stage, "job": job.name, "key": job.key}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Repeater(logging.Handler):
    """Writes what this process logs outside of jobs, whose lines come with their outcomes."""

    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if Accounting.running:
            return
        try:
            self._log.repeat(line_of(record))
        except Exception:  # a message that does not fit its arguments
            self.handleError(record)


@contextmanager
def logged_to(file: Path | None, study: str, *others: Observer) -> Iterator[Observer]:
    """An observer for one execution of a study: a log in `file`, where one is given, and the others.

    What ends the execution early is the log's last line.

    Raises:
        AtlasError: The file cannot be written to.
    """
    if file is None:
        yield Observers(others)
        return
    log = RunLog(file, study)
    logger = logging.getLogger("atlas_core")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with listening(_Repeater(log)):
            yield Observers((log, *others))
    except BaseException as error:
        said = str(error) or type(error).__name__
        trace = traceback.format_exc()
        log.write(f"stopped: {said}", level="ERROR", event="stopped", error=said, traceback=trace)
        raise
    finally:
        logger.setLevel(level)
        log.close()

"""Carrying out a study: the same waves of job groups, whoever runs the groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from atlas_core.config import StudyConfig
from atlas_core.placement import Placement
from atlas_core.plan.records import record_study
from atlas_core.plan.session import JobGroup, StudySession
from atlas_core.plan.workers import Outcome, run_jobs
from atlas_core.results.current import mark_current


class Observer(Protocol):
    """Told what happens; what it does with it (a bar, log lines) is its own affair."""

    def begin(self, session: StudySession) -> None:
        """A study starts."""

    def queued(self, group: JobGroup) -> None:
        """A group's jobs are handed to whoever runs them."""

    def cached(self, group: JobGroup) -> None:
        """All jobs of a group are in the store already."""

    def done(self, outcome: Outcome) -> None:
        """A job ended. May be called from any thread."""

    def end(self, session: StudySession) -> None:
        """The study is over, finished or not."""


class SilentObserver:
    """Says nothing."""

    def begin(self, session: StudySession) -> None:
        """Nothing to do."""

    def queued(self, group: JobGroup) -> None:
        """Nothing to do."""

    def cached(self, group: JobGroup) -> None:
        """Nothing to do."""

    def done(self, outcome: Outcome) -> None:
        """Nothing to do."""

    def end(self, session: StudySession) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Observers:
    """Tells each of several observers everything, in order."""

    each: tuple[Observer, ...]

    def begin(self, session: StudySession) -> None:
        for observer in self.each:
            observer.begin(session)

    def queued(self, group: JobGroup) -> None:
        for observer in self.each:
            observer.queued(group)

    def cached(self, group: JobGroup) -> None:
        for observer in self.each:
            observer.cached(group)

    def done(self, outcome: Outcome) -> None:
        for observer in self.each:
            observer.done(outcome)

    def end(self, session: StudySession) -> None:
        for observer in self.each:
            observer.end(session)


# Runs a wave's groups and returns their jobs' outcomes; groups of a wave do not depend on one another.
GroupRunner = Callable[[Sequence[JobGroup], Placement, Observer], list[Outcome]]


def run_here(groups: Sequence[JobGroup], placement: Placement, observer: Observer) -> list[Outcome]:
    """Run the groups that are not cached on this machine, their jobs side by side."""
    for group in groups:
        if group.cached:
            observer.cached(group)
        else:
            observer.queued(group)
    jobs = [job for group in groups if not group.cached for job in group.jobs]
    return run_jobs(jobs, placement, observer.done)


def run_study(
    study: StudyConfig,
    placement: Placement,
    *,
    run_groups: GroupRunner = run_here,
    observer: Observer | None = None,
) -> StudySession:
    """Bring every artifact of a study up to date.

    Returns:
        The finished session; `session.finish()` gives the aggregate's key.

    Raises:
        AtlasError: Jobs failed (named, after everything that does not depend on them was finished).
    """
    watcher = observer or SilentObserver()
    session = StudySession(study, placement)
    record_study(session.resolver.store, study)
    watcher.begin(session)
    try:
        for wave in session.waves():
            session.record(run_groups(wave, placement, watcher))
    finally:
        watcher.end(session)
    mark_current(session.resolver.store, session.finish())
    return session

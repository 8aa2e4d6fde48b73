"""One execution of a study: its graph, what is known of the store, and the scheduler that brings them together."""

from __future__ import annotations

from dataclasses import dataclass, field

from atlas_core.config import StudyConfig
from atlas_core.errors import AtlasError
from atlas_core.left_behind import remove_left_behind
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph, build_graph
from atlas_core.plan.conflicts import ConflictWatch
from atlas_core.plan.notes import study_notes
from atlas_core.plan.observers import Observer, SilentObserver
from atlas_core.plan.records import record_study
from atlas_core.plan.resolve import Resolver
from atlas_core.plan.scheduler import Scheduler
from atlas_core.plan.workers import JobFailure
from atlas_core.results.current import mark_current
from atlas_core.store import Store
from atlas_core.understanding.announce import Announcing


@dataclass
class StudySession:
    """One execution of a study.

    Raises:
        AtlasError: The study names what does not exist, or its placement a cluster that cannot be had.
    """

    study: StudyConfig
    placement: Placement
    observer: Observer = field(default_factory=SilentObserver)
    graph: Graph = field(init=False)
    resolver: Resolver = field(init=False)
    scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        self.graph = build_graph(self.study, self.placement)
        self.resolver = Resolver(self.graph, Store(self.placement.store_path))
        self.observer = Announcing(self.observer, self.placement.strict)
        self.scheduler = Scheduler(self.graph, self.resolver, self.placement, self.observer)
        self._watch = ConflictWatch(self.graph, self.resolver, self.placement)
        self.scheduler.check = self._watch.check

    @property
    def failures(self) -> list[JobFailure]:
        """Jobs that failed; what depends on them was left out."""
        return self.scheduler.failures

    def begin(self) -> None:
        """Remember what was asked for, and tell the observer.

        Raises:
            AtlasError: The study asks for what cannot work together, or the store cannot be written to.
        """
        self._watch.refuse()
        self.resolver.store.make()
        remove_left_behind(self.resolver.store)
        record_study(self.resolver.store, self.study)
        self.observer.begin(self)

    def notes(self) -> list[str]:
        """What the study's user should know before it runs, a line each."""
        return study_notes(self.graph, {}, self._watch.known, self.placement)

    def end(self) -> None:
        """Tell the observer that no more will happen."""
        self.observer.end(self)

    def finish(self) -> str:
        """Make the study's results the current ones; returns the key of its aggregate.

        Raises:
            AtlasError: Jobs failed; names them.
        """
        if self.scheduler.broken is not None:
            raise self.scheduler.broken
        if self.failures:
            named = "; ".join(f"{failure.name}: {failure.message}" for failure in self.failures[:5])
            more = f" (and {len(self.failures) - 5} more)" if len(self.failures) > 5 else ""
            left = sum(end == "not reached" for end in self.scheduler.ends.values())
            raise AtlasError(
                f"{len(self.failures)} of the study's jobs failed: {named}{more}"
                + (f"; {left} that need them were not reached" if left else ""),
                fix="correct the cause and run the study again; everything that was finished is kept",
            )
        manifest = self.scheduler.states[self.graph.aggregate.name].manifest
        assert manifest is not None, "nothing failed, so everything was made"
        mark_current(self.resolver.store, manifest.key)
        return manifest.key


def run_study(study: StudyConfig, placement: Placement, *, observer: Observer | None = None) -> StudySession:
    """Bring every artifact of a study up to date; returns the finished session.

    Raises:
        AtlasError: Jobs failed (named, after everything that does not depend on them was finished).
    """
    session = StudySession(study, placement, observer or SilentObserver())
    session.begin()
    try:
        session.scheduler.run()
    finally:
        session.end()
    session.finish()
    return session

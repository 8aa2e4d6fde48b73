"""Who is told what happens while a study runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from atlas_core.manifest import Manifest
from atlas_core.plan.node import Node
from atlas_core.plan.workers import Outcome
from atlas_core.stages.stage import Job

if TYPE_CHECKING:
    from atlas_core.plan.session import StudySession
    from atlas_core.understanding.study import Understanding


class Observer(Protocol):
    """Told what happens, from one thread; what it does with it (a bar, log lines) is its own affair."""

    def begin(self, session: StudySession) -> None:
        """A study starts."""

    def understood(self, understanding: Understanding) -> None:
        """What was understood of the study's data and backbone; told once."""

    def cached(self, node: Node, manifest: Manifest) -> None:
        """A node is in the store already."""

    def queued(self, job: Job) -> None:
        """A node's inputs are there, and it waits for its turn."""

    def done(self, outcome: Outcome) -> None:
        """A job ended."""

    def end(self, session: StudySession) -> None:
        """The study is over, finished or not."""


class SilentObserver:
    """Says nothing; a base for observers that are interested in some of it."""

    def begin(self, session: StudySession) -> None:
        """Nothing to do."""

    def understood(self, understanding: Understanding) -> None:
        """Nothing to do."""

    def cached(self, node: Node, manifest: Manifest) -> None:
        """Nothing to do."""

    def queued(self, job: Job) -> None:
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

    def understood(self, understanding: Understanding) -> None:
        for observer in self.each:
            observer.understood(understanding)

    def cached(self, node: Node, manifest: Manifest) -> None:
        for observer in self.each:
            observer.cached(node, manifest)

    def queued(self, job: Job) -> None:
        for observer in self.each:
            observer.queued(job)

    def done(self, outcome: Outcome) -> None:
        for observer in self.each:
            observer.done(outcome)

    def end(self, session: StudySession) -> None:
        for observer in self.each:
            observer.end(session)

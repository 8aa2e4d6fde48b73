"""Saying once, before a study's work begins, what was understood of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_core.manifest import Manifest
from atlas_core.plan.node import Node
from atlas_core.plan.observers import Observer
from atlas_core.plan.workers import Outcome
from atlas_core.stages.stage import Job
from atlas_core.understanding.study import Understanding, index_states, understand_study

if TYPE_CHECKING:
    from atlas_core.plan.session import StudySession


@dataclass
class Announcing:
    """Passes everything on to an observer, and tells it once what was understood.

    That is at the start where every dataset is here, else as soon as the last of those to be fetched is read.

    Attributes:
        observer: Who is told.
        strict: Whether an oddity ends the study.
    """

    observer: Observer
    strict: bool
    _session: StudySession | None = None
    _waiting: set[str] = field(default_factory=set)

    def begin(self, session: StudySession) -> None:
        """Raises AtlasError where a dataset has two readings or, if that is asked for, an oddity."""
        states = index_states(session.graph, session.resolver)
        understanding = understand_study(session.graph, states, session.placement)
        if self.strict and not understanding.pending:
            understanding.check_strict()
        self.observer.begin(session)
        if understanding.pending:
            self._session = session
            self._waiting = {node.name for node in session.graph.of_stage("index")}
        else:
            self.observer.understood(understanding)

    def cached(self, node: Node, manifest: Manifest) -> None:
        self.observer.cached(node, manifest)
        self._ended(node.name)

    def queued(self, job: Job) -> None:
        self.observer.queued(job)

    def done(self, outcome: Outcome) -> None:
        self.observer.done(outcome)
        self._ended(outcome.name)

    def understood(self, understanding: Understanding) -> None:
        self.observer.understood(understanding)

    def end(self, session: StudySession) -> None:
        self.observer.end(session)

    def _ended(self, name: str) -> None:
        if name not in self._waiting:
            return
        self._waiting.discard(name)
        if self._waiting:
            return
        session = self._session
        assert session is not None
        understanding = understand_study(session.graph, session.scheduler.states, session.placement)
        self.observer.understood(understanding)
        if self.strict:
            understanding.check_strict()

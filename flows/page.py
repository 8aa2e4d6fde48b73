"""What a study shows on its flow run's page: log lines, a progress bar, its main table and a link to its report."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from atlas_core.manifest import Manifest
from atlas_core.plan.node import Node
from atlas_core.plan.session import StudySession
from atlas_core.plan.workers import JobFailure, Outcome
from atlas_core.stages.stage import Job
from atlas_core.understanding.study import Understanding
from atlas_core.understanding.text import understanding_lines

_SHOW_EVERY_SECONDS = 5.0


class FlowPage:
    """Observes a study and writes what happens to the flow run's log and progress artifact."""

    def begin(self, session: StudySession) -> None:
        self._log = get_run_logger()
        for line in session.notes():
            self._log.warning(line)
        self._total = self._left = len(session.graph.nodes)
        self._cached: dict[str, int] = {}
        runs = len(session.graph.of_stage("tune"))
        self._log.info("%s: %d runs, %d artifacts", session.study.name, runs, self._total)
        self._shown_at = time.monotonic()
        about = f"{session.study.name}: artifacts made or cached"
        artifact = create_progress_artifact(progress=0.0, key=_key(session, "progress"), description=about)
        assert isinstance(artifact, UUID)
        self._artifact = artifact

    def understood(self, understanding: Understanding) -> None:
        level = logging.WARNING if understanding.oddities else logging.INFO
        self._log.log(level, "\n".join(understanding_lines(understanding)))

    def cached(self, node: Node, manifest: Manifest) -> None:
        self._cached[node.stage] = self._cached.get(node.stage, 0) + 1
        self._ended()

    def queued(self, job: Job) -> None:
        """Nothing to say: Prefect shows the task."""

    def done(self, outcome: Outcome) -> None:
        for line in outcome.account.warnings if outcome.account else ():
            self._log.warning(line)
        if isinstance(outcome, JobFailure):
            self._log.error("failed %s: %s", outcome.name, outcome.message)
        elif not outcome.cached:
            self._log.info("made %s in %.2f s, %d left", outcome.name, outcome.wall_seconds, self._left - 1)
        self._ended()

    def end(self, session: StudySession) -> None:
        for stage, number in self._cached.items():
            self._log.info("cached %s: %d", stage, number)
        self._log.info("%s: %d jobs failed", session.study.name, len(session.failures))
        self._show()

    def _ended(self) -> None:
        self._left -= 1
        if time.monotonic() - self._shown_at > _SHOW_EVERY_SECONDS:
            self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        update_progress_artifact(self._artifact, progress=100.0 * (self._total - self._left) / self._total)


def publish_results(session: StudySession, key: str) -> None:
    """The study's main table as a Prefect artifact, the same that `atlas table` prints, and a link to its report."""
    # Here, because DuckDB and matplotlib take seconds to import, which a study need not wait for before it starts.
    from atlas_core.results.database import connect
    from atlas_core.results.rendering import artifact_description, artifact_records
    from atlas_core.results.tables import build_table, table_names

    table = session.study.protocol.replace("_", "-")
    if table in table_names():  # a protocol of another package may have none
        connection = connect(session.resolver.store.path("aggregate", key))
        records = artifact_records(build_table(connection, table))
        about = artifact_description(session.study.description)
        create_table_artifact(records, key=_key(session, table), description=about)
    report = _report(session, key)
    create_link_artifact(
        report.as_uri(), link_text=f"report of {session.study.name}", key=_key(session, "report")
    )


def _report(session: StudySession, key: str) -> Path:
    """The report of these results, written unless an earlier run has written it."""
    folder = session.placement.home.expanduser().absolute() / "reports"
    path = folder / f"{session.study.name}-{key[:12]}.html"
    if not path.is_file():
        from atlas_core.results.report.study import write_study_report

        folder.mkdir(parents=True, exist_ok=True)
        write_study_report([session.study], session.placement, path, title=session.study.name)
    return path


def _key(session: StudySession, what: str) -> str:
    """An artifact's key: lower-case letters, digits and dashes."""
    name = "".join(letter if letter.isalnum() else "-" for letter in session.study.name.lower())
    return f"{name}-{what}"

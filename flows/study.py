"""The story of every study: fetch, index, features, soft labels, training, evaluation, aggregation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.futures import PrefectFuture
from prefect.utilities.annotations import quote
from pydantic import AfterValidator, BaseModel, ConfigDict

from atlas_core.backbone.config import BackboneConfig
from atlas_core.config import MethodConfig, StudyConfig, ViewsConfig
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.errors import AtlasError
from atlas_core.labels.config import SupervisionConfig
from atlas_core.placement import Placement
from atlas_core.plan.execution import Observer, run_study
from atlas_core.plan.run_log import logged_to
from atlas_core.plan.session import JobGroup, StudySession
from atlas_core.plan.workers import JobFailure, Outcome
from atlas_core.results.database import connect
from atlas_core.results.rendering import table_records
from atlas_core.results.tables import build_table, table_names
from tasks.aggregate import aggregate
from tasks.cache_features import cache_image_features, cache_pixels, cache_text_features
from tasks.evaluate import evaluate
from tasks.fetch import fetch, index
from tasks.job_groups import FailedJobsError, GroupTask
from tasks.soft_labels import class_soft_labels, instance_soft_labels
from tasks.tune import tune

# In the order in which a study needs them.
STAGE_TASKS: dict[str, GroupTask] = {
    "fetch": fetch,
    "index": index,
    "text_features": cache_text_features,
    "image_features": cache_image_features,
    "pixels": cache_pixels,
    "csl": class_soft_labels,
    "isl": instance_soft_labels,
    "tune": tune,
    "evaluate": evaluate,
    "aggregate": aggregate,
}


def _known_dataset(name: str) -> str:
    try:
        dataset_spec(name)
    except AtlasError as error:
        raise ValueError(str(error)) from error
    return name


def _valid(model: type[BaseModel]) -> AfterValidator:
    """Check a value against a model but keep it as it was given, a bare name or a mapping."""

    def check(value: Any) -> Any:
        model.model_validate(value)
        return value

    return AfterValidator(check)


# Plain names and mappings, so that the deployments' JSON schema admits both; what they say is checked before
# anything starts, with suggestions for a name that is not known.
Dataset = Annotated[str, AfterValidator(_known_dataset)]
Method = Annotated[str | dict[str, Any], _valid(MethodConfig)]
Supervision = Annotated[str | dict[str, Any], _valid(SupervisionConfig)]


class Overrides(BaseModel):
    """Fields of the preset to replace; what is left out stays as the preset has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    methods: tuple[Method, ...] | None = None
    supervisions: tuple[Supervision, ...] | None = None
    shots: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    backbone: BackboneConfig | None = None
    views: ViewsConfig | None = None
    training: dict[str, Any] | None = None


def given(overrides: Overrides | None) -> dict[str, Any]:
    """The fields that were given, as plain values."""
    return overrides.model_dump(mode="json", exclude_none=True, exclude_unset=True) if overrides else {}


def run_as_tasks(study: StudyConfig, placement: Placement) -> str:
    """Run a study with one Prefect task a group of jobs; returns the key of its result tables.

    Raises:
        AtlasError: Jobs failed; everything that does not depend on them was finished first.
    """
    given = os.environ.get("ATLAS_LOG_FILE")
    with logged_to(Path(given) if given else None, study.name, LoggingObserver()) as observer:
        session = run_study(study, placement, run_groups=_run_groups, observer=observer)
    key = session.finish()
    _publish_table(session, key)
    return key


def _run_groups(groups: Sequence[JobGroup], placement: Placement, observer: Observer) -> list[Outcome]:
    futures: list[tuple[JobGroup, PrefectFuture[Any]]] = []
    for group in groups:
        stage_task = STAGE_TASKS[group.stage]
        if not group.cached:
            # The store says that something is not there or not whole, whatever Prefect remembers.
            stage_task = stage_task.with_options(refresh_cache=True)
            observer.queued(group)
        future = stage_task.submit(quote(group), quote(placement), quote(observer.done))
        if placement.in_process:
            future.wait()  # one at a time in this process
        futures.append((group, future))
    return [outcome for group, future in futures for outcome in _outcomes(group, future, observer)]


def _outcomes(group: JobGroup, future: PrefectFuture[Any], observer: Observer) -> list[Outcome]:
    future.wait()
    if group.cached:
        observer.cached(group)
    result = future.result(raise_on_failure=False)
    if isinstance(result, FailedJobsError):
        return result.outcomes
    if isinstance(result, BaseException):
        return [JobFailure(job.name, f"{type(result).__name__}: {result}", "") for job in group.jobs]
    return []


def _publish_table(session: StudySession, key: str) -> None:
    """The study's main table as a Prefect artifact, the same that `atlas table` prints."""
    connection = connect(session.resolver.store.path("aggregate", key))
    table = session.study.protocol.replace("_", "-")
    if table not in table_names():  # a protocol of another package
        return
    name = "".join(letter if letter.isalnum() else "-" for letter in session.study.name.lower())
    records = table_records(build_table(connection, table))
    create_table_artifact(records, key=f"{name}-{table}", description=session.study.description)


class LoggingObserver:
    """Writes a line as each group of cached jobs is met and as jobs end, to the flow run's log."""

    def begin(self, session: StudySession) -> None:
        self._log = get_run_logger()
        for line in session.notes():
            self._log.warning(line)
        runs = len(session.graph.of_stage("tune"))
        self._left = len(session.graph.nodes)
        self._log.info("%s: %d runs, %d artifacts", session.study.name, runs, self._left)

    def queued(self, group: JobGroup) -> None:
        """Nothing to say: Prefect shows the task."""

    def cached(self, group: JobGroup) -> None:
        self._left -= len(group.jobs)
        self._log.info("cached %s %s (%s), %d left", group.stage, group.label, group.size, self._left)

    def done(self, outcome: Outcome) -> None:
        self._left -= 1
        if isinstance(outcome, JobFailure):
            self._log.error("failed %s: %s", outcome.name, outcome.message)
        elif not outcome.cached:
            self._log.info("made %s in %.2f s, %d left", outcome.name, outcome.wall_seconds, self._left)

    def end(self, session: StudySession) -> None:
        self._log.info("%s: %d jobs failed", session.study.name, len(session.failures))

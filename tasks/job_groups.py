"""What every task has in common: it runs a group of jobs, and its cache key is made of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.states import Completed

from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.session import JobGroup
from atlas_core.plan.workers import JobFailure, Outcome, run_jobs
from atlas_core.stages.execute import JobResult

GroupTask = Task[..., Any]


class FailedJobsError(AtlasError):
    """Some jobs of a group failed; the others' artifacts are in the store.

    Attributes:
        outcomes: Every job's outcome.
    """

    def __init__(self, outcomes: list[Outcome]) -> None:
        failures = [outcome for outcome in outcomes if isinstance(outcome, JobFailure)]
        named = "; ".join(f"{failure.name}: {failure.message}" for failure in failures[:3])
        super().__init__(f"{len(failures)} of {len(outcomes)} jobs failed: {named}")
        self.outcomes = outcomes


def group_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The cache key: the very key of the artifacts.

    Prefect's own policies would add the run id, which never hits across runs, or leave out what they cannot
    hash.

    Raises:
        TypeError: There is no group to make a key of; a missing key would mean no caching, silently.
    """
    group = parameters.get("group")
    if not isinstance(group, JobGroup):
        raise TypeError(
            f"task {context.task.name!r} was called with {type(group).__name__} instead of a JobGroup"
        )
    return f"{group.stage}-{group.key}"


def group_task(name: str, **options: Any) -> GroupTask:
    """A task that runs a `JobGroup` and returns small references to its artifacts.

    Args:
        name: Name in Prefect's interface.
        options: More options of `prefect.task` (retries, …).
    """

    def run_group(group: JobGroup, placement: Placement, on_done: Callable[[Outcome], None]) -> Any:
        return _run_group(group, placement, on_done)

    decorate: Callable[[Callable[..., Any]], GroupTask] = task(
        name=name,
        task_run_name=name + ": {group.label} ({group.size})",
        cache_key_fn=group_key,
        persist_result=True,
        result_serializer="json",
        **options,
    )
    return decorate(run_group)


def _run_group(
    group: JobGroup, placement: Placement, on_done: Callable[[Outcome], None]
) -> list[Any] | State[Any]:
    # What is in the store already is only looked up, which needs no other process.
    here = placement.model_copy(update={"workers": 0, "dask": None}) if group.cached else placement
    outcomes = run_jobs(group.jobs, here, None if group.cached else on_done)
    for outcome in outcomes:
        if isinstance(outcome, JobFailure):
            get_run_logger().error("%s failed: %s\n%s", outcome.name, outcome.message, outcome.trace)
    results = [outcome for outcome in outcomes if isinstance(outcome, JobResult)]
    if len(results) < len(outcomes):
        raise FailedJobsError(outcomes)
    references = [{"stage": r.ref.stage, "key": r.ref.key, "digest": r.ref.digest} for r in results]
    if all(result.cached for result in results):
        return Completed(name="Cached", message="every artifact is in the store and whole", data=references)
    return references

"""The stage tasks, by name. Each makes a group of artifacts and ends as Cached, Completed, Failed or NotReached."""

from __future__ import annotations

from typing import Any

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from atlas_core.plan.groups import Group
from atlas_core.plan.session import StudySession
from atlas_core.plan.workers import JobFailure

StageTask = Task[..., Any]


def _stage_task(stage: str, name: str) -> StageTask:
    """The task of a stage.

    The store alone says what is there and whole; what Prefect remembers of earlier runs would be a second answer to
    the same question, so its own cache is off. No retries: downloads try an address again themselves
    (`datasets/download.py`), and nothing else that fails gets better by being tried again. No tags: Prefect asks its
    server about the limits of every tag of every task run, which takes a fifth of a second each time.
    """

    def make_group(group: Group, session: StudySession) -> State[Any]:
        names = [node.name for node in group.nodes]
        session.scheduler.make(names)
        ends = [session.scheduler.ends[each] for each in names]
        failures = [end for end in ends if isinstance(end, JobFailure)]
        for failure in failures:
            get_run_logger().error("%s failed: %s\n%s", failure.name, failure.message, failure.trace)
        if failures:
            named = "; ".join(f"{each.name}: {each.message}" for each in failures[:3])
            return Failed(message=f"{len(failures)} of {group.size} failed: {named}")
        if left := ends.count("not reached"):
            return Failed(
                name="NotReached", message=f"{left} of {group.size}: something that they need failed"
            )
        manifests = [session.scheduler.states[each].manifest for each in names]
        references = [
            {"stage": each.stage, "key": each.key, "digest": each.digest} for each in manifests if each
        ]
        if ends.count("cached") == len(ends):
            return Completed(name="Cached", message=f"{group.size}, all in the store", data=references)
        return Completed(message=f"{ends.count('made')} of {group.size} made", data=references)

    make_group.__name__ = make_group.__qualname__ = stage
    decorate = task(
        name=name,
        task_run_name=name + ": {group.label} ({group.size})",
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return decorate(make_group)


fetch = _stage_task("fetch", "fetch")
index = _stage_task("index", "index")
cache_text_features = _stage_task("text_features", "cache text features")
cache_image_features = _stage_task("image_features", "cache image features")
cache_pixels = _stage_task("pixels", "cache pixels")
class_soft_labels = _stage_task("csl", "class-wise soft labels")
instance_soft_labels = _stage_task("isl", "instance-wise soft labels")
tune = _stage_task("tune", "tune")
evaluate = _stage_task("evaluate", "evaluate")
aggregate = _stage_task("aggregate", "aggregate")

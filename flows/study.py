"""The story of every study: what is made of what, from a dataset's files to the tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.utilities.annotations import quote

from atlas_core.config import StudyConfig
from atlas_core.placement import Placement
from atlas_core.plan.groups import Group, groups_of
from atlas_core.plan.run_log import logged_to
from atlas_core.plan.session import StudySession
from flows.page import FlowPage, publish_results
from flows.roots import check_study
from tasks.stages import (
    StageTask,
    aggregate,
    cache_image_features,
    cache_pixels,
    cache_text_features,
    class_soft_labels,
    evaluate,
    fetch,
    index,
    instance_soft_labels,
    tune,
)

Futures = dict[Group, PrefectFuture[Any]]


def carry_out(study: StudyConfig, placement: Placement) -> str:
    """Run a study as Prefect tasks; returns the key of its result tables.

    Raises:
        AtlasError: A path leads out of the folders that the worker's operator allows, and nothing was started; or
            jobs failed, and everything that does not depend on them was finished first.
    """
    check_study(study, placement)
    with _opened(study, placement) as (session, tasks):
        files = tasks.submit(fetch)
        images = tasks.submit(index, files)

        text_features = tasks.submit(cache_text_features, images)
        image_features = tasks.submit(cache_image_features, images)
        pixels = tasks.submit(cache_pixels, images)
        features = {**text_features, **image_features, **pixels}

        class_wise = tasks.submit(class_soft_labels, text_features)
        instance_wise = tasks.submit(instance_soft_labels, text_features, image_features)

        runs = tasks.submit(tune, features, class_wise, instance_wise)
        predictions = tasks.submit(evaluate, runs, features)
        tables = tasks.submit(aggregate, images, predictions)

        tasks.wait(files, images, features, class_wise, instance_wise, runs, predictions, tables)
    key = session.finish()
    publish_results(session, key)
    return key


class _Tasks:
    """Submits stage tasks over a study's groups, each with the futures of the groups that it needs."""

    def __init__(self, session: StudySession) -> None:
        self.session = session
        self._groups: dict[str, list[Group]] = {}
        for group in groups_of(session.graph, session.scheduler.stacks):
            self._groups.setdefault(group.stage, []).append(group)

    def submit(self, stage_task: StageTask, *inputs: Futures) -> Futures:
        """One task run for each group of the stage; a group that needs another one of its stage waits for it."""
        known: Futures = {group: future for each in inputs for group, future in each.items()}
        submitted: Futures = {}
        for group in self._groups.get(stage_task.fn.__name__, ()):
            # Tried although some of its inputs failed: the scheduler leaves out what cannot be made.
            needs = [allow_failure({**known, **submitted}[each]) for each in group.needs]
            submitted[group] = stage_task.submit(quote(group), quote(self.session), wait_for=needs)
        return submitted

    def wait(self, *futures: Futures) -> None:
        """Wait for every task run; how it ended stands on the flow run's page."""
        for each in futures:
            for future in each.values():
                future.wait()


@contextmanager
def _opened(study: StudyConfig, placement: Placement) -> Iterator[tuple[StudySession, _Tasks]]:
    """A session whose scheduler makes, in a thread of its own, what the tasks ask for."""
    log_file = os.environ.get("ATLAS_LOG_FILE")
    with logged_to(Path(log_file) if log_file else None, study.name, FlowPage()) as observer:
        session = StudySession(study, placement, observer)
        session.begin()
        thread = Thread(target=session.scheduler.serve, name="atlas scheduler", daemon=True)
        thread.start()
        try:
            yield session, _Tasks(session)
        except BaseException as error:
            session.scheduler.abandon(error)
            raise
        else:
            session.scheduler.close()
            thread.join()
        finally:
            session.end()

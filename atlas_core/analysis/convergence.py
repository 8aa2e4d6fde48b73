"""The convergence analysis as an experiment: one CoOp training under several schedules, gradients measured along it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from atlas_core.analysis.gradients import compare_targets
from atlas_core.analysis.training_set import TrainingSet, training_set
from atlas_core.backbone.clip import FrozenClip
from atlas_core.errors import AtlasError
from atlas_core.labels.base import SOURCES, LabelBatch, TargetSource
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.coop import CoOp
from atlas_core.methods.traits.base import Classes, parse_options
from atlas_core.store import Store
from atlas_core.training.data import TrainingData
from atlas_core.training.loop import EpochCurve, train
from atlas_core.training.randomness import stream
from atlas_core.training.recipe import Recipe
from atlas_core.use.runs import FinishedRun

TARGETS = ("one_hot", "ls", "csl", "isl")
SCHEDULES = ("one_hot", "ls", "csl", "isl", "atlas_ls", "atlas_csl", "atlas_isl")
ROW_FILES = ("gradients.parquet", "curves.parquet")
_VIEW = 0


@dataclass(frozen=True)
class ConvergenceRows:
    """What was measured.

    Attributes:
        gradients: One row a schedule, epoch (0: the initial context) and target: the fields of
            `GradientStatistics`.
        curves: One row a schedule and epoch: the fields of `EpochCurve`.
    """

    gradients: list[dict[str, Any]]
    curves: list[dict[str, Any]]


def measure_convergence(
    store: Store,
    run: FinishedRun,
    clip: FrozenClip,
    *,
    schedules: Sequence[str] = SCHEDULES,
    every: int = 5,
    on_schedule: Callable[[str], None] | None = None,
) -> ConvergenceRows:
    """Train as `run` was trained, once under each schedule, and measure gradients along the way.

    All trainings start from one context and see the same batches; only their targets differ. Gradients are taken
    over the whole training set, view 0 of each image, at the contexts after every `every`-th epoch.

    Raises:
        AtlasError: The run is not CoOp's, or its training features are gone from the store.
    """
    if run.config["method"] != "coop" or run.manifest is None:
        raise AtlasError(
            f"the run {run.name} is {'not CoOp' if run.manifest else 'an exported folder'}",
            expected="a CoOp run of the store, whose training can be repeated",
            fix="choose one, such as 'demo_digits coop one_hot seed1'",
        )
    data = training_set(store, run.manifest, clip)
    rows = ConvergenceRows([], [])
    for schedule in schedules:
        if on_schedule is not None:
            on_schedule(schedule)
        _follow(run, clip, data, schedule, every, rows)
    return rows


def _follow(
    run: FinishedRun, clip: FrozenClip, data: TrainingSet, schedule: str, every: int, rows: ConvergenceRows
) -> None:
    """Train under one schedule and add its rows."""
    recipe = Recipe.model_validate(run.config["training"])
    method = initial_coop(run, clip)
    targets = sample_targets(data)
    features = data.bank[:, _VIEW].float()

    def measure(epoch: int) -> None:
        for target, found in compare_targets(method, features, targets, recipe.batch_size).items():
            rows.gradients.append({"schedule": schedule, "epoch": epoch, "target": target, **asdict(found)})

    def after(curve: EpochCurve) -> None:
        rows.curves.append({"schedule": schedule, **asdict(curve)})
        if curve.epoch % every == 0 or curve.epoch == recipe.trained_epochs:
            measure(curve.epoch)

    measure(0)
    supervision = SupervisionConfig.model_validate(schedule)
    train(
        method,
        TrainingData(data.labels, data.bank),
        Supervisor.from_config(supervision, data.targets),
        recipe,
        seed=run.config["seed"],
        on_epoch=after,
    )


def initial_coop(run: FinishedRun, clip: FrozenClip) -> CoOp:
    """The run's CoOp as its training began."""
    return CoOp(
        clip,
        Classes(run.classes, run.config["templates"], trained=True),
        parse_options(CoOp, run.config["options"]),
        generator=stream(run.config["seed"], "initial context"),
    )


def sample_targets(data: TrainingSet) -> dict[str, Tensor]:
    """Each target's distributions [N, C] over the training set, as its label source gives them."""
    rows = torch.arange(len(data.labels), device=data.labels.device)
    batch = LabelBatch(labels=data.labels, rows=rows, views=torch.full_like(rows, _VIEW))
    targets: dict[str, Tensor] = {}
    for name in TARGETS:
        source = SOURCES.get(name)(SupervisionConfig.model_validate(name), data.targets)
        assert isinstance(source, TargetSource)
        targets[name] = source.target(batch).float()
    return targets


def write_rows(rows: ConvergenceRows, folder: Path) -> None:
    """Write `ROW_FILES` into a new folder."""
    for name, table in zip(ROW_FILES, (rows.gradients, rows.curves), strict=True):
        pq.write_table(pa.Table.from_pylist(table), folder / name, compression="zstd")

"""tune: one training of one method under one supervision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.load import load_backbone
from atlas_core.features.cache import read_features
from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import Batch, PromptMethod
from atlas_core.results.schemas import CURVES, table_of
from atlas_core.stages.image_inputs import IMAGE_INPUTS
from atlas_core.stages.runtime import backbone_config
from atlas_core.stages.stage import Stage, StageContext
from atlas_core.stages.tensors import SOFT_LABEL_FILE
from atlas_core.stages.trained_method import PROMPTS_FILE, build_method, load_method
from atlas_core.training.checkpoint import read_tensors, write_tensors
from atlas_core.training.data import TrainingData, resident
from atlas_core.training.loop import EpochCurve, Resumption, Teacher, train
from atlas_core.training.recipe import Recipe

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class PreparedRun:
    """A run before its first step: what `train` takes."""

    method: PromptMethod
    data: TrainingData
    supervisor: Supervisor
    recipe: Recipe
    seed: int
    teacher: Teacher | None


def _run(context: StageContext) -> None:
    clip = load_backbone(backbone_config(context), context.placement.device)
    method = build_method(clip, context.config, context.inputs, trained=True, cost=context.runtime["cost"])
    curves: list[EpochCurve] = []
    if method.learns:
        run = prepare_run(context, clip, method)
        curves = train(
            run.method,
            run.data,
            run.supervisor,
            run.recipe,
            seed=run.seed,
            teacher=run.teacher,
            resumption=Resumption(context.work / CHECKPOINT_FILE),
        )
    write_run(context.out, method, context.config, curves)


def prepare_run(context: StageContext, clip: FrozenClip, method: PromptMethod) -> PreparedRun:
    """The training of a method in its initial state, from the job's configuration and inputs."""
    return PreparedRun(
        method=method,
        data=_training_data(context, clip, method),
        supervisor=_supervisor(context, len(method.classes), clip.device),
        recipe=Recipe.model_validate(context.config["training"]),
        seed=context.config["seed"],
        teacher=_teacher(clip, context),
    )


def write_run(out: Path, method: PromptMethod, config: Mapping[str, Any], curves: list[EpochCurve]) -> None:
    """Write the learned parameters with their configuration inside, the curves, and what a run's row says.

    Nothing in here depends on the run's key: code that changes and gives the same result stops what follows.
    """
    state = method.learned_state() if method.learns else {}
    write_tensors(out / PROMPTS_FILE, state, {"config": dict(config), "names": list(method.classes.names)})
    rows = [asdict(curve) for curve in curves]
    pq.write_table(table_of(CURVES, rows), out / "curves.parquet", compression="zstd")
    summary = {
        "learned_parameters": sum(parameter.numel() for parameter in state.values()),
        "first_loss": curves[0].loss if curves else None,
        "final_loss": curves[-1].loss if curves else None,
    }
    (out / "run.json").write_text(json.dumps(summary, sort_keys=True))


def _training_data(context: StageContext, clip: FrozenClip, method: PromptMethod) -> TrainingData:
    table = read_features(context.inputs["image_features"] / "features.parquet")
    bank = resident(torch.from_numpy(table.bank()), clip.device)
    labels = torch.from_numpy(_first_of_each_item(table.items, table.labels)).long().to(clip.device)
    pixels = IMAGE_INPUTS.get(method.image_input).training_pixels(context.inputs, clip)
    return TrainingData(labels, bank, pixels)


def _first_of_each_item(items: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels by item from a table with one row an item and view, ordered by item."""
    _, first = np.unique(items, return_index=True)
    return np.ascontiguousarray(labels[first])


def _supervisor(context: StageContext, n_classes: int, device: torch.device) -> Supervisor:
    tables: dict[str, Tensor] = {}
    for role in ("csl", "isl"):
        if role in context.inputs:
            tables |= read_tensors(context.inputs[role] / SOFT_LABEL_FILE)[0]
    frozen = FrozenTargets(n_classes, csl=tables.get("csl"), isl=tables.get("isl")).to(device)
    return Supervisor.from_config(SupervisionConfig(**context.config["supervision"]), frozen)


def _teacher(clip: FrozenClip, context: StageContext) -> Teacher | None:
    """The same method trained with one-hot labels, for self-distillation (TF-KD, section 3.2)."""
    if "teacher" not in context.inputs:
        return None
    method, _ = load_method(
        clip, context.inputs["teacher"], context.inputs, trained=True, cost=context.runtime["cost"]
    )
    predict = method.predictor()

    @torch.no_grad()
    def teacher_logits(batch: Batch) -> Tensor:
        return predict(batch.features if batch.pixels is None else batch.pixels)

    return teacher_logits


TUNE = Stage(_run)

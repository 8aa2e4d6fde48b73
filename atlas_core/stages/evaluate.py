"""evaluate: one trained model on one test set, kept as a row an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.load import load_backbone
from atlas_core.evaluation.predictions import prediction_rows
from atlas_core.methods.base import PromptMethod
from atlas_core.results.schemas import CLASSES, table_of
from atlas_core.stages.image_inputs import IMAGE_INPUTS
from atlas_core.stages.items_table import read_items
from atlas_core.stages.runtime import backbone_config
from atlas_core.stages.stage import Stage, StageContext
from atlas_core.stages.trained_method import load_method


def _run(context: StageContext) -> None:
    config = context.config
    clip = load_backbone(backbone_config(context), context.placement.device)
    method, _ = load_method(
        clip,
        context.inputs["run"],
        context.inputs,
        trained=config["trained_classes"],
        cost=context.runtime["cost"],
    )
    items = read_items(context.inputs[IMAGE_INPUTS.get(method.image_input).role])
    rows = prediction_rows(
        (logits.float() for logits in test_logits(method, clip, context.inputs)),
        items["label"].to_pylist(),
        items["path"].to_pylist(),
        run_id="",
        target=config["target"],
        subset=config["subset"],
    )
    pq.write_table(rows, context.out / "predictions.parquet", compression="zstd")
    names = [
        {"target": config["target"], "subset": config["subset"], "label": label, "class_name": name}
        for label, name in enumerate(method.classes.names)
    ]
    pq.write_table(table_of(CLASSES, names), context.out / "classes.parquet", compression="zstd")


@torch.no_grad()
def test_logits(method: PromptMethod, clip: FrozenClip, inputs: Mapping[str, Path]) -> Iterator[Tensor]:
    """Logits [n, C] in chunks, in the order of the test images; class features are computed once."""
    predict = method.predictor()
    for chunk in IMAGE_INPUTS.get(method.image_input).test_chunks(inputs, clip):
        yield predict(chunk)


EVALUATE = Stage(_run)

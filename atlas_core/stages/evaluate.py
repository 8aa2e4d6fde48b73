"""evaluate: one trained model on one test set, kept as a row an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.load import load_backbone
from atlas_core.evaluation.measures import metrics_row
from atlas_core.evaluation.predictions import prediction_rows
from atlas_core.features.cache import read_features
from atlas_core.methods.base import PromptMethod
from atlas_core.results.schemas import rows_to_table
from atlas_core.stages.items_table import read_items
from atlas_core.stages.pixel_reader import pixel_reader
from atlas_core.stages.runtime import backbone_config
from atlas_core.stages.stage import Stage, StageContext
from atlas_core.stages.trained_method import load_method

_FEATURE_CHUNK = 8192
_PIXEL_CHUNK = 100  # the published test batch (protocol 1.0)


def _run(context: StageContext) -> None:
    config = context.config
    clip = load_backbone(backbone_config(context))
    method = load_method(
        clip,
        context.inputs["run"],
        context.inputs,
        templates=config["templates"],
        trained=config["trained_classes"],
    )
    items = read_items(context.inputs[_image_role(method)])
    rows = prediction_rows(
        (logits.float() for logits in test_logits(method, clip, context.inputs)),
        items["label"].to_pylist(),
        items["path"].to_pylist(),
        run_id="",
        target=config["target"],
        subset=config["subset"],
    )
    pq.write_table(rows, context.out / "predictions.parquet", compression="zstd")
    metrics = rows_to_table("metrics", [metrics_row(rows, len(method.classes))])
    pq.write_table(metrics, context.out / "metrics.parquet", compression="zstd")
    names = [
        {"target": config["target"], "subset": config["subset"], "label": label, "class_name": name}
        for label, name in enumerate(method.classes.names)
    ]
    pq.write_table(rows_to_table("classes", names), context.out / "classes.parquet", compression="zstd")


def _image_role(method: PromptMethod) -> str:
    return "pixels" if method.image_input == "pixels" else "image_features"


@torch.no_grad()
def test_logits(method: PromptMethod, clip: FrozenClip, inputs: Mapping[str, Path]) -> Iterator[Tensor]:
    """Logits [n, C] in chunks, in the order of the test images; class features are computed once."""
    predict = method.predictor()
    images = _pixel_chunks if method.image_input == "pixels" else _feature_chunks
    for chunk in images(inputs, clip):
        yield predict(chunk)


def _feature_chunks(inputs: Mapping[str, Path], clip: FrozenClip) -> Iterator[Tensor]:
    features = read_features(inputs["image_features"] / "features.parquet").bank()[:, 0]
    for start in range(0, len(features), _FEATURE_CHUNK):
        yield torch.from_numpy(features[start : start + _FEATURE_CHUNK]).to(clip.device)


def _pixel_chunks(inputs: Mapping[str, Path], clip: FrozenClip) -> Iterator[Tensor]:
    read = pixel_reader(inputs["pixels"], clip)
    n = read_items(inputs["pixels"]).num_rows
    for start in range(0, n, _PIXEL_CHUNK):
        rows = torch.arange(start, min(n, start + _PIXEL_CHUNK))
        yield read(rows, torch.zeros_like(rows))


EVALUATE = Stage(_run)

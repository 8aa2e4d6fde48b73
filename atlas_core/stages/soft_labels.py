"""csl and isl: soft labels from the frozen model, made offline (design, section Supervision)."""

from __future__ import annotations

import numpy as np
import torch

from atlas_core.features.cache import read_features
from atlas_core.labels.soft_labels import (
    class_soft_labels,
    class_temperature,
    instance_soft_labels,
    instance_temperature,
)
from atlas_core.labels.softness import softness, write_softness
from atlas_core.stages.stage import Stage, StageContext
from atlas_core.stages.tensors import SOFT_LABEL_FILE, read_text_features
from atlas_core.training.checkpoint import write_tensors


def _class_wise(context: StageContext) -> None:
    text = read_text_features(context.inputs["text_features"])
    temperature = class_temperature(text.features, context.config["temperature"], text.logit_scale)
    table = class_soft_labels(text.features, temperature)
    write_tensors(context.out / SOFT_LABEL_FILE, {"csl": table}, {"names": list(text.names)})
    write_softness(context.out, softness(table.numpy(), np.arange(len(table)), temperature))


def _instance_wise(context: StageContext) -> None:
    text = read_text_features(context.inputs["text_features"])
    temperature = instance_temperature(context.config["temperature"], text.logit_scale)
    features = read_features(context.inputs["image_features"] / "features.parquet")
    bank = torch.from_numpy(features.bank())
    n, views, width = bank.shape
    table = instance_soft_labels(bank.reshape(n * views, width), text.features, temperature)
    write_tensors(
        context.out / SOFT_LABEL_FILE, {"isl": table.reshape(n, views, -1)}, {"names": list(text.names)}
    )
    # Rows of the features, and so of the bank, are ordered by image, then view.
    write_softness(context.out, softness(table.numpy(), features.labels, temperature))


CSL = Stage(_class_wise)
ISL = Stage(_instance_wise)

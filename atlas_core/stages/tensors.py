"""Tensors in artifacts: safetensors with JSON metadata, and the class names that belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from atlas_core.training.checkpoint import read_tensors, write_tensors

TEXT_FILE = "text.safetensors"
SOFT_LABEL_FILE = "soft_labels.safetensors"


@dataclass(frozen=True)
class TextFeatures:
    """Frozen text features of a class set.

    Attributes:
        features: [C, D] normalised, or [K, C, D] one a template.
        names: Class names as prompted.
        ids: Class ids as the dataset's index has them; empty where it has none.
        logit_scale: s = exp(logit_scale) of the model.
    """

    features: Tensor
    names: tuple[str, ...]
    logit_scale: float
    ids: tuple[str, ...] = ()


def write_text_features(folder: Path, text: TextFeatures) -> None:
    metadata = {"names": list(text.names), "ids": list(text.ids), "logit_scale": text.logit_scale}
    write_tensors(folder / TEXT_FILE, {"features": text.features}, metadata)


def read_text_features(folder: Path) -> TextFeatures:
    tensors, metadata = read_tensors(folder / TEXT_FILE)
    names, ids = tuple(metadata["names"]), tuple(metadata["ids"])
    return TextFeatures(tensors["features"], names, float(metadata["logit_scale"]), ids)

"""What a finished run was trained on: its features, soft labels, images and frozen model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.features.cache import read_features
from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.soft_labels import (
    class_soft_labels,
    class_temperature,
    instance_soft_labels,
    instance_temperature,
)
from atlas_core.manifest import Manifest
from atlas_core.stages.items_table import read_items
from atlas_core.stages.tensors import read_text_features
from atlas_core.store import Store
from atlas_core.use.runs import input_folder


@dataclass(frozen=True)
class TrainingSet:
    """A run's N training images and their soft labels.

    Attributes:
        bank: Raw frozen features of V augmented views of each image, [N, V, D].
        labels: Classes, int64 [N].
        items: Paths in the dataset's folder, N.
        text: Normalised frozen text features of the classes, [C, D].
        names: C class names as prompted.
        class_temperature, instance_temperature: s_t of the soft labels.
        targets: CSL [C, C] and ISL [N, V, C].
    """

    bank: Tensor
    labels: Tensor
    items: tuple[str, ...]
    text: Tensor
    names: tuple[str, ...]
    class_temperature: float
    instance_temperature: float
    targets: FrozenTargets


def training_set(store: Store, run: Manifest, clip: FrozenClip | None = None) -> TrainingSet:
    """Read a run's training set; its soft labels are computed here, at the run's temperature if it has one.

    Args:
        clip: Where tensors are put (its device); the CPU where None.

    Raises:
        AtlasError: The run was not trained (zero-shot), or its inputs are no longer in the store.
    """
    features = input_folder(store, run, "image_features", "image_features")
    text = read_text_features(input_folder(store, run, "classes", "text_features"))
    bank = torch.from_numpy(read_features(features / "features.parquet").bank())
    items = read_items(features)
    supervision = run.key_parts["config"]["supervision"] or {}
    wanted = supervision.get("temperature")
    of_classes = class_temperature(text.features, wanted, text.logit_scale)
    of_images = instance_temperature(wanted, text.logit_scale)
    n, views, width = bank.shape
    instance = instance_soft_labels(bank.reshape(n * views, width), text.features, of_images)
    targets = FrozenTargets(
        len(text.names),
        csl=class_soft_labels(text.features, of_classes),
        isl=instance.reshape(n, views, -1),
    )
    where = clip.device if clip is not None else torch.device("cpu")
    return TrainingSet(
        bank=bank.to(where),
        labels=torch.tensor(items["label"].to_pylist(), dtype=torch.int64, device=where),
        items=tuple(items["path"].to_pylist()),
        text=text.features,
        names=text.names,
        class_temperature=of_classes,
        instance_temperature=of_images,
        targets=targets.to(where),
    )

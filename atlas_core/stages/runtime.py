"""What several stages derive from their context: dataset folder, backbone, the subset of classes, run rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas_core.backbone.config import BackboneConfig
from atlas_core.datasets.few_shot import few_shot_sample
from atlas_core.datasets.items import DatasetIndex, Item, base_new_labels, select
from atlas_core.errors import AtlasError
from atlas_core.stages.stage import StageContext


def dataset_root(context: StageContext) -> Path:
    """The dataset's folder."""
    return Path(context.runtime["folder"])


def dataset_name(context: StageContext) -> str:
    """What the study calls the dataset."""
    return str(context.runtime["spec"]["name"])


def backbone_config(context: StageContext) -> BackboneConfig:
    """The study's backbone."""
    return BackboneConfig.model_validate(context.runtime["backbone"])


def subset_labels(n_classes: int, subset: str) -> tuple[int, ...] | None:
    """Labels of the base or new classes, None for all."""
    if subset == "all":
        return None
    base, new = base_new_labels(n_classes)
    return base if subset == "base" else new


def chosen_items(index: DatasetIndex, config: Mapping[str, Any]) -> list[Item]:
    """The images that a feature or pixel artifact holds, relabelled from 0 (protocol, sections 2.2 and 2.3).

    With `shots` the few-shot training images of `seed`, else the whole split; then the classes of `subset`.

    Raises:
        AtlasError: A class has no image to train on, or there is none to test on.
    """
    if config["shots"] is None:
        positions = index.positions(config["split"])
    else:
        positions = few_shot_sample(index, config["shots"], config["seed"]).train
    labels = subset_labels(len(index.class_names), config["subset"])
    chosen = select(index, positions, labels)
    if config["shots"] is not None:
        _check_every_class(index, positions, labels)
    if not chosen:
        raise AtlasError(
            f"dataset {index.name!r} has no {config['split']} images of its {config['subset']} classes",
            expected="at least one image in each split that the protocol uses",
        )
    return chosen


def _check_every_class(index: DatasetIndex, positions: Sequence[int], labels: Sequence[int] | None) -> None:
    there = {index.items[position].label for position in positions}
    wanted = range(len(index.class_names)) if labels is None else labels
    absent = [index.class_names[label] for label in wanted if label not in there]
    if absent:
        raise AtlasError(
            f"dataset {index.name!r} has no training images of {', '.join(map(repr, absent[:5]))}",
            expected="at least one training image of every class that is trained on",
            fix="put some of its images into the training split, or leave the class out",
        )

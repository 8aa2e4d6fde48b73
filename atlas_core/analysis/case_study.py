"""Which images the case study of soft labels shows, and their CSL and ISL (figure 3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas_core.analysis.training_set import TrainingSet
from atlas_core.backbone.clip import FrozenClip
from atlas_core.errors import AtlasError
from atlas_core.features.images import decode_image
from atlas_core.features.transforms import normalise, test_transform
from atlas_core.labels.soft_labels import class_soft_labels, instance_soft_labels


@dataclass(frozen=True)
class Case:
    """One image and its soft labels.

    Attributes:
        item: Path in the dataset's folder.
        picture: What the frozen model saw of it, uint8 [S, S, 3].
        label: Its class.
        csl, isl: Distributions [C]: of its class, and of this picture.
    """

    item: str
    picture: npt.NDArray[np.uint8]
    label: int
    csl: npt.NDArray[np.float32]
    isl: npt.NDArray[np.float32]


def choose_items(data: TrainingSet, count: int) -> list[str]:
    """Images that show what ISL adds to CSL: in turn one that the frozen model is sure of and one that it is not.

    By the mean probability of the true class over the training views; one image a class before a second one.
    """
    assert data.targets.isl is not None
    certainty = data.targets.isl.mean(dim=1)[torch.arange(len(data.labels)), data.labels]
    best_first = torch.sort(certainty, descending=True, stable=True).indices.tolist()
    ends = {False: best_first, True: best_first[::-1]}
    chosen: list[int] = []
    for turn in range(min(count, len(best_first))):
        left = [row for row in ends[turn % 2 == 1] if row not in chosen]
        shown = [int(data.labels[row]) for row in chosen]
        chosen.append(min(left, key=lambda row: shown.count(int(data.labels[row]))))
    return [data.items[row] for row in chosen]


def cases(data: TrainingSet, clip: FrozenClip, folder: Path, items: Sequence[str]) -> list[Case]:
    """The soft labels of chosen training images as the test protocol sees them: no crop drawn by chance.

    Args:
        folder: The dataset's folder.
        items: Paths in it, as the study names them.

    Raises:
        AtlasError: An image is none of the run's training images, or is missing or damaged.
    """
    for item in items:
        if item not in data.items:
            raise AtlasError(
                f"{item!r} is none of the run's {len(data.items)} training images",
                expected=f"paths such as {data.items[0]!r}",
                fix="leave --image out to have images chosen",
            )
    views = [test_transform(decode_image(folder / item), clip.image_size, clip.resizing) for item in items]
    instance = _instance(data, clip, views).numpy()
    class_wise = class_soft_labels(data.text, data.class_temperature).numpy()
    labels = [int(data.labels[data.items.index(item)]) for item in items]
    return [
        Case(item, view.permute(1, 2, 0).numpy(), label, class_wise[label], isl)
        for item, view, label, isl in zip(items, views, labels, instance, strict=True)
    ]


def _instance(data: TrainingSet, clip: FrozenClip, views: Sequence[Tensor]) -> Tensor:
    pixels = normalise(torch.stack(list(views)).to(clip.device), clip.mean, clip.std)
    features = clip.encode_image(pixels).float().cpu()
    return instance_soft_labels(features, data.text.cpu(), data.instance_temperature)

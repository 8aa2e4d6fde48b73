"""The published few-shot sampler (protocol 2.2), with its random stream reproduced exactly."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from atlas_core.datasets.items import DatasetIndex
from atlas_core.errors import AtlasError

# Validation never gets more than this many images a class (protocol 2.2).
MAX_VAL_SHOTS = 4


@dataclass(frozen=True)
class FewShot:
    """Positions into `DatasetIndex.items`, class by class in order of first appearance."""

    train: tuple[int, ...]
    val: tuple[int, ...]


def few_shot_sample(index: DatasetIndex, shots: int, seed: int) -> FewShot:
    """Draw `shots` training and min(shots, 4) validation images a class, over all classes.

    Base/new cuts are made afterwards with `select`, so a base few-shot set is part of the all-class one.
    Train is drawn first and val from the same stream. A class with fewer images than asked for keeps
    all of them and draws nothing.

    Raises:
        AtlasError: `shots` is below 1, or the dataset has no training images.
    """
    if shots < 1:
        raise AtlasError(f"shots = {shots}", expected="at least 1 image a class")
    train = index.positions("train")
    if not train:
        raise AtlasError(
            f"dataset {index.name!r} has no training images to sample from",
            fix="train on another dataset; this one is a test set",
        )
    rng = random.Random(seed)
    drawn = _draw(index, train, shots, rng)
    return FewShot(drawn, _draw(index, index.positions("val"), min(shots, MAX_VAL_SHOTS), rng))


def _draw(index: DatasetIndex, positions: Sequence[int], shots: int, rng: random.Random) -> tuple[int, ...]:
    of_class: dict[int, list[int]] = {}
    for position in positions:
        of_class.setdefault(index.items[position].label, []).append(position)
    drawn: list[int] = []
    for members in of_class.values():
        # `sample` is called even when it takes every image: the published stream advances there too.
        drawn += rng.sample(members, shots) if len(members) >= shots else members
    return tuple(drawn)

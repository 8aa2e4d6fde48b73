"""A protocol says what is trained and what each training is tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from atlas_core.config import StudyConfig
from atlas_core.registry import Registry

Subset = Literal["all", "base", "new"]


@dataclass(frozen=True)
class Evaluation:
    """A test set: the classes `subset` of a dataset, classified among themselves."""

    dataset: str
    subset: Subset


@dataclass(frozen=True)
class Training:
    """A training set (the classes `subset` of a dataset at a number of shots) and its test sets."""

    dataset: str
    subset: Subset
    shots: int
    evaluations: tuple[Evaluation, ...]


PROTOCOLS: Registry[Callable[[StudyConfig], Iterator[Training]]] = Registry("protocol", "atlas.protocols")
PROTOCOLS.add_lazy(
    "base_to_new",
    "atlas_core.protocols.base_to_new:trainings",
    "train on half of the classes, test on both halves",
)
PROTOCOLS.add_lazy("few_shot", "atlas_core.protocols.few_shot:trainings", "all classes, 1 to 16 images each")
PROTOCOLS.add_lazy(
    "cross_dataset", "atlas_core.protocols.transfer:trainings", "train on a source, test on other datasets"
)
PROTOCOLS.add_lazy(
    "domain_generalization",
    "atlas_core.protocols.transfer:trainings",
    "train on a source, test on shifted domains",
)

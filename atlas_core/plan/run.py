"""One cell of a study's matrix: a training to be, and its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from atlas_core.labels.config import SupervisionConfig
from atlas_core.methods.traits.base import MethodOptions, MethodTraits
from atlas_core.protocols.protocol import Training
from atlas_core.training.recipe import Recipe


@dataclass(frozen=True)
class Run:
    """A training of one method on one training set under one supervision with one seed.

    Attributes:
        method: The method's name.
        supervision: None for a method that learns nothing.
    """

    method: str
    traits: type[MethodTraits]
    recipe: Recipe
    options: MethodOptions
    training: Training
    supervision: SupervisionConfig | None
    seed: int

    def name(self, dataset: str) -> str:
        """ "digits/base/16-shot/coop/atlas_csl(period=3)/seed1"."""
        return self._name(dataset, with_parameters=True)

    def family(self, dataset: str) -> str:
        """The name without the supervision's parameters: versions of one run share it."""
        return self._name(dataset, with_parameters=False)

    def _name(self, dataset: str, *, with_parameters: bool) -> str:
        place = f"{dataset}/{self.training.subset}"
        if self.supervision is None:
            return f"{place}/{self.method}"
        parameters = supervision_parameters(self.supervision) if with_parameters else ""
        label = self.supervision.label + parameters
        return f"{place}/{self.training.shots}-shot/{self.method}/{label}/seed{self.seed}"


def supervision_parameters(supervision: SupervisionConfig) -> str:
    """ "(mix=0.5,period=3)": what differs from the defaults of this supervision, empty when nothing does."""
    plain = _by_default(supervision.label)
    differing = [
        f"{field}={as_written(getattr(supervision, field))}"
        for field in ("period", "mix", "temperature")
        if getattr(supervision, field) != getattr(plain, field) and getattr(supervision, field) is not None
    ]
    differing += [
        f"{name}={value}" for name, value in supervision.options.items() if plain.options.get(name) != value
    ]
    return f"({','.join(differing)})" if differing else ""


def as_written(value: float | str) -> str:
    """A supervision's number, or the word in its place, as it stands in a name."""
    return value if isinstance(value, str) else f"{value:g}"


@lru_cache(maxsize=64)
def _by_default(label: str) -> SupervisionConfig:
    return SupervisionConfig.model_validate(label)

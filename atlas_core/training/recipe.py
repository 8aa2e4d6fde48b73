"""Training constants as data: a method's YAML, the rules that apply to a run, and the user's overrides."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atlas_core.backbone.config import Precision
from atlas_core.errors import AtlasError


class WeightAverage(BaseModel):
    """Gaussian weights over epochs for averaging learned parameters (PromptSRC, eq. 7)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    mean: float
    std: float = Field(gt=0)


class Recipe(BaseModel):
    """How one run is optimised. Sources: protocol of each method, named in its YAML.

    Attributes:
        epochs: Length of the schedule. `stop_after` ends training earlier on the same schedule.
        parameter_lr: Learning rates for parameters whose name starts with the key (DePT's staged rates).
        average: Gaussian weight averaging, or None for the last epoch's parameters.
        precision: What the towers' matrix products are computed in; parameters and losses stay float32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(0.002, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    adam_eps: float = Field(1e-8, gt=0)
    batch_size: int = Field(32, ge=1)
    epochs: int = Field(50, ge=0)
    stop_after: int | None = Field(None, ge=1)
    warmup_epochs: int = Field(1, ge=0)
    warmup_lr: float = Field(1e-5, gt=0)
    parameter_lr: dict[str, float] = {}
    average: WeightAverage | None = None
    precision: Precision = "fp32"

    @property
    def trained_epochs(self) -> int:
        return trained_epochs(self.epochs, self.stop_after)


def trained_epochs(epochs: int, stop_after: int | None) -> int:
    """How many epochs of a schedule are trained."""
    return epochs if stop_after is None else min(epochs, stop_after)


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    when: dict[str, list[str | int]]
    training: dict[str, Any] = {}
    options: dict[str, Any] = {}

    def applies(self, facts: Mapping[str, str | int]) -> bool:
        return all(facts.get(fact) in allowed for fact, allowed in self.when.items())


class MethodDefaults(BaseModel):
    """A method's YAML: where its constants come from, and rules that apply in order, later ones winning."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str
    training: dict[str, Any]
    options: dict[str, Any] = {}
    rules: tuple[_Rule, ...] = ()


@lru_cache(maxsize=64)
def method_defaults(path: Path) -> MethodDefaults:
    """Read a method's YAML.

    Raises:
        AtlasError: The file is missing or holds unknown keys.
    """
    try:
        return MethodDefaults.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValidationError, yaml.YAMLError) as error:
        raise AtlasError(f"the method's constants in {path.name} cannot be read: {error}") from error


def check_precisions(backbone: Precision, training: Precision) -> None:
    """Refuse towers that are of one half precision and asked to compute in another.

    Raises:
        AtlasError: Both are half precision, and differ.
    """
    if "fp32" not in (backbone, training) and backbone != training:
        raise AtlasError(
            f"`training.precision: {training}` over `backbone.precision: {backbone}`",
            expected="one half precision for both, or fp32 for one of them",
            fix=f"set `training.precision: fp32`: the towers then compute in {backbone}, as they are",
        )


def resolve_recipe(
    defaults: MethodDefaults,
    *,
    protocol: str,
    dataset: str,
    shots: int,
    training: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the method options of one run.

    Args:
        defaults: The method's YAML.
        protocol, dataset, shots: Facts that the YAML's rules test.
        training, options: The user's overrides, which win over every rule.

    Raises:
        AtlasError: An override names an unknown setting or has a value out of range.
    """
    facts: dict[str, str | int] = {"protocol": protocol, "dataset": dataset, "shots": shots}
    merged_training, merged_options = dict(defaults.training), dict(defaults.options)
    for rule in defaults.rules:
        if rule.applies(facts):
            merged_training.update(rule.training)
            merged_options.update(rule.options)
    merged_training.update(training)
    merged_options.update(options)
    try:
        return Recipe.model_validate(merged_training), merged_options
    except ValidationError as error:
        first = error.errors()[0]
        raise AtlasError(
            f"training setting {'.'.join(map(str, first['loc']))!r}: {first['msg']}",
            expected=f"settings among {', '.join(Recipe.model_fields)}",
            fix="correct it in the study's YAML",
        ) from error

"""The numbers of the shipped cost model, from data/costs.yaml, which says where each comes from."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from atlas_core.plan.devices import may_have_gpus
from atlas_core.resources import data_path

DeviceClass = Literal["cpu", "gpu"]


class _Numbers(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceNumbers(_Numbers):
    """A class of devices: `name` for people, and speeds in 10⁹ operations a second by a tower's width."""

    name: str
    measured: bool
    training: dict[int, float]
    forward: dict[int, float]
    step: float
    image: float


class MethodNumbers(_Numbers):
    texts: float
    each_image: bool = False
    kilobytes: float


class _Tokens(_Numbers):
    of_class: float = Field(alias="class")
    shared: float
    prompt: float


class _Stages(_Numbers):
    fetch: dict[Literal["generated_image", "downloaded_byte"], float]
    index: dict[Literal["image", "image_bytes"], float]
    decode: dict[Literal["photograph", "generated_image"], float]
    job: float
    text: float
    soft_labels: float
    evaluated_image_bytes: float
    step_bytes: float
    run_bytes: float
    aggregate: dict[Literal["seconds", "evaluation", "bytes", "image_bytes"], float]


class _Dataset(_Numbers):
    classes: int
    train: int
    test: int
    image_bytes: float
    generated_image_bytes: float


class CostNumbers(_Numbers):
    """What data/costs.yaml holds."""

    devices: dict[DeviceClass, DeviceNumbers]
    tokens: _Tokens
    methods: dict[str, MethodNumbers]
    other_method: MethodNumbers
    stages: _Stages
    dataset: _Dataset


@lru_cache(maxsize=1)
def cost_numbers() -> CostNumbers:
    return CostNumbers.model_validate(yaml.safe_load(data_path("costs.yaml").read_text(encoding="utf-8")))


def device_class(device: str) -> DeviceClass:
    """The class of a placement's device, without asking torch."""
    if device == "auto":
        return "gpu" if sys.platform == "linux" and may_have_gpus() else "cpu"
    return "cpu" if device == "cpu" else "gpu"

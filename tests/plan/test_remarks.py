"""A study says before it runs which of its trainings never leave their warm-up."""

from pathlib import Path

import pytest

from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.remarks import remarks
from atlas_core.presets import load_study


def said(home: Path, **training: int) -> list[str]:
    methods = ["zero_shot", {"name": "coop", "training": training}]
    overrides = {"methods": methods, "supervisions": ["one_hot", "ls"]}
    return remarks(build_graph(load_study("base-to-new-demo", overrides), Placement(home=home)))


@pytest.mark.parametrize("training", [{"epochs": 1}, {"epochs": 5, "stop_after": 1}])
def test_a_training_of_warm_up_alone_is_named(tmp_path: Path, training: dict[str, int]) -> None:
    (line,) = said(tmp_path, **training)
    assert line.startswith("coop trains 1 of 1 warm-up epochs and no other: its learning rate stays at 1e-05")


@pytest.mark.parametrize("training", [{"epochs": 2}, {"epochs": 1, "warmup_epochs": 0}])
def test_its_advice_works(tmp_path: Path, training: dict[str, int]) -> None:
    assert said(tmp_path, **training) == []

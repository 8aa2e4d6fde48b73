"""Every method's step can be measured, so that the shipped cost model has a number for each."""

import pytest

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.load import load_backbone
from atlas_core.bench.step_costs import step_seconds
from atlas_core.methods.registry import METHODS


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).learns])
def test_a_step_of_every_method_is_measured(name: str) -> None:
    clip = load_backbone(BackboneConfig(model="demo"), "cpu")
    assert step_seconds(clip, name, classes=3, repeats=1) > 0

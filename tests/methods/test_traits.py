"""A method's traits are known without torch, and are the method's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas_core.methods.registry import METHODS, method_traits
from atlas_core.methods.traits.base import MethodTraits
from atlas_core.methods.zero_shot import ZeroShot

NAMES = ("image_input", "augmentation", "views_per_step", "learns", "stackable", "defaults_file", "Options")


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_has_exactly_the_traits_that_planning_sees(name: str) -> None:
    traits, method = method_traits(name), METHODS.get(name)
    assert issubclass(method, traits)
    assert traits is not method
    assert [getattr(method, each) for each in NAMES] == [getattr(traits, each) for each in NAMES]
    assert method.text_reference.__func__ is traits.text_reference.__func__  # type: ignore[attr-defined]
    assert traits.defaults_file.is_file()


def test_a_method_registered_in_place_of_one_is_its_own_traits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(ZeroShot):
        views_per_step = 3

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    METHODS.register("coop")(Other)
    assert method_traits("coop") is Other
    assert issubclass(method_traits("kgcoop"), MethodTraits)
    assert method_traits("kgcoop").views_per_step == 1


@pytest.mark.parametrize("name", METHODS.names())
def test_options_of_cost_are_those_that_bound_memory_and_no_others(name: str) -> None:
    options = method_traits(name).Options()
    assert set(options.cost()) == {"text_chunk", "prediction_chunk", "gradient_checkpointing"} & set(
        type(options).model_fields
    )
    assert options.result().keys() | options.cost().keys() == options.model_dump().keys()
    assert not options.result().keys() & options.cost().keys()


HEAVY = ("torch", "torchvision", "open_clip", "numpy", "pandas", "pyarrow", "duckdb", "matplotlib")
ASK = "from atlas_core.backbone.known_models import known_models; known_models()"
LOOK_UP = """
import sys
from atlas_core.commands.study import status_rows
from atlas_core.placement import Placement
from atlas_core.presets import load_studies, preset_names

for preset in preset_names():
    for study in load_studies(preset):
        assert len(status_rows(study, Placement())) > 3
print(*sys.modules)
"""


def test_planning_every_preset_and_looking_it_up_imports_neither_torch_nor_tables(tmp_path: Path) -> None:
    """With the embedded model as with those that open_clip knows by name, once it was asked for them."""

    def python(script: str) -> str:
        command, here = [sys.executable, "-c", script], {**os.environ, "ATLAS_HOME": str(tmp_path)}
        return subprocess.run(command, env=here, capture_output=True, text=True, check=True).stdout

    python(ASK)
    assert not set(python(LOOK_UP).split()) & set(HEAVY)

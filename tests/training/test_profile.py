"""`atlas profile RUN` says where a training's time goes, and changes nothing in the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from atlas_core.cli import app
from atlas_core.errors import AtlasError
from atlas_core.training.profile import PARTS, REST, Profiled, profile_operators, profile_training
from atlas_core.training.recipe import Recipe
from tests.tiny_study import TinyWorld, make_world, write_yaml
from tests.training.test_stack import RECIPE, member_of


def profiled(recipe: Recipe = RECIPE) -> Profiled:
    member = member_of(("atlas_ols", 1))
    return Profiled(member.method, member.data, member.supervisor, recipe, member.seed)


def test_the_parts_add_up_to_the_whole() -> None:
    found = profile_training(profiled(), steps=2)
    assert found.steps == 4
    assert sum(share.seconds for share in found.shares) == pytest.approx(found.seconds)
    assert all(share.seconds >= 0 for share in found.shares)


def test_every_part_of_a_text_side_training_is_seen() -> None:
    calls = {share.part: share.calls for share in profile_training(profiled(), steps=2).shares}
    assert set(calls) == set(PARTS) - {"image tower, forward"} | {REST}
    assert calls["text tower, forward"] == calls["backward pass"] == 4
    assert calls["supervision"] == 2 * 4 + 2  # loss and observation a step, the end of each epoch


def test_a_run_without_a_step_is_refused() -> None:
    with pytest.raises(AtlasError, match="trains for no step"):
        profile_training(profiled(RECIPE.model_copy(update={"epochs": 0})), steps=2)


def test_operators_are_listed_and_written_as_a_timeline(tmp_path: Path) -> None:
    text = profile_operators(profiled(), 1, 5, tmp_path / "deep" / "trace.json")
    assert "aten::" in text
    assert json.loads((tmp_path / "deep" / "trace.json").read_text())["traceEvents"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("profile"))
    study = {"methods": [{"name": "coop", "options": {"n_ctx": 2, "ctx_init": ""}}, {"name": "zero_shot"}]}
    world.run(**study, supervisions=["one_hot", "atlas_csl"])
    write_yaml(world.home / "later.yaml", world.raw_study(**study, seeds=[2]))
    return world


def invoke(world: TinyWorld, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["profile", *arguments, "--home", str(world.home), "--device", "cpu"])


def test_a_run_is_found_by_words_of_its_name_and_nothing_is_stored(world: TinyWorld) -> None:
    before = sorted(world.placement.store_path.rglob("*"))
    result = invoke(world, "ponds coop atlas_csl", "--steps", "1", "--operators", "3")
    assert result.exit_code == 0, result.output
    for part in ("text tower, forward", "backward pass", "supervision", "optimiser"):
        assert part in result.output
    assert sorted(world.placement.store_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ponds zero_shot",), "trains nothing"),
        (("lakes coop",), "unknown run"),
        (("ponds coop atlas_isl seed2", "--study", "later.yaml"), "waits for"),
    ],
)
def test_a_run_that_cannot_be_profiled_is_refused(
    world: TinyWorld, arguments: tuple[str, ...], message: str
) -> None:
    name, *rest = arguments
    paths = [str(world.home / each) if each.endswith(".yaml") else each for each in rest]
    result = invoke(world, name, *paths)
    assert isinstance(result.exception, AtlasError)
    assert message in str(result.exception)

"""Images that `views.skip_damaged` leaves out are named, and no class goes missing without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from atlas_core.commands.progress import ConsoleObserver
from atlas_core.errors import AtlasError
from atlas_core.plan.session import run_study
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path)


def what_a_user_sees(world: TinyWorld, **overrides: Any) -> str:
    console = Console(record=True, width=200)
    study = world.study(
        datasets=[str(world.home / "ponds.yaml")],
        supervisions=["one_hot"],
        views={"per_image": 1, "skip_damaged": True},
        training={"epochs": 1, "batch_size": 4},
        **overrides,
    )
    try:
        run_study(study, world.placement, observer=ConsoleObserver(console, workers=0))
    except AtlasError as error:
        return console.export_text() + str(error)
    return console.export_text()


def damage(world: TinyWorld, name: str, numbers: range) -> None:
    for number in numbers:
        (world.home / "data" / "ponds" / name / f"{number:02d}.png").write_bytes(b"no image")


def test_images_that_are_left_out_are_named(world: TinyWorld) -> None:
    damage(world, "red fox", range(5))
    said = what_a_user_sees(world)
    assert "images cannot be decoded and are left out (red fox/0" in said


@pytest.mark.parametrize("method", ["coop", "vpt"])
def test_a_class_without_a_whole_training_image_is_an_error(method: str, world: TinyWorld) -> None:
    damage(world, "blue jay", range(6))
    said = what_a_user_sees(world, methods=[method])
    assert "training images of 'blue jay' can be decoded" in said
    assert "Expected: at least one whole image of every class" in said


def test_a_class_without_a_whole_test_image_is_named(world: TinyWorld) -> None:
    damage(world, "red fox", range(6))  # one of the new classes, which nothing is trained on
    said = what_a_user_sees(world, methods=["zero_shot"])
    assert "no test image of 'red fox' is left" in said

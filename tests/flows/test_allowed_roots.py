"""What a deployment's parameters may name: paths below the folders that the worker's operator allows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from atlas_core.datasets.catalogue import dataset_path
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from flows.protocols import base_to_new
from flows.roots import ALLOWED_ROOTS, check_dataset, check_study
from flows.study import carry_out
from tests.tiny_study import TinyWorld, make_world, write_yaml


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyWorld:
    """A world whose home is the only folder that is allowed."""
    monkeypatch.setenv(ALLOWED_ROOTS, str(tmp_path / "home"))
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "operators"))
    return make_world(tmp_path / "home")


@pytest.fixture
def outside(world: TinyWorld, tmp_path: Path) -> Path:
    """A folder beside the allowed one, with a description, images, a config, weights and sentences."""
    make_world(tmp_path / "outside")
    (world.home / "link").symlink_to(tmp_path / "outside")
    return tmp_path / "outside"


def test_paths_below_the_allowed_folder_are_taken(world: TinyWorld) -> None:
    check_study(world.study(), world.placement)
    check_study(world.study(datasets=[f"image_folder:{world.home / 'data' / 'ponds'}"]), world.placement)
    check_study(world.study(backbone={"model": "demo", "pretrained": None}), Placement(workers=1))


def test_without_the_variable_every_path_is_taken(
    world: TinyWorld, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ALLOWED_ROOTS)
    check_study(world.study(), Placement(home=outside))


def test_an_empty_variable_allows_no_path_and_leaves_the_operators_own(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, "")
    check_study(world.study(datasets=["demo_shapes"], backbone={"model": "demo"}), Placement(workers=1))
    with pytest.raises(AtlasError, match="no path may be given"):
        check_study(world.study(), world.placement)


@pytest.mark.parametrize("field", ["home", "store", "data_root"])
@pytest.mark.parametrize("way", ["outside", "home/../outside", "home/link", "home/link/new", "homestead"])
def test_a_folder_elsewhere_is_refused(
    field: str, way: str, world: TinyWorld, outside: Path, tmp_path: Path
) -> None:
    placement = Placement.model_validate({"home": world.home, field: tmp_path / way})
    with pytest.raises(AtlasError, match=rf"placement.{field} .* is not below a folder that this worker's"):
        check_study(world.study(), placement)


@pytest.mark.parametrize(
    "what", ["backbone.weights", "backbone.model", "dataset", "sentences_file of coprompt"]
)
@pytest.mark.parametrize("way", ["outside", "home/link"])
def test_a_study_that_names_a_path_elsewhere_is_refused_before_anything_starts(
    what: str, way: str, world: TinyWorld, outside: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / way
    backbone = world.raw_study()["backbone"]
    changed = {
        "backbone.weights": {"backbone": {**backbone, "weights": str(elsewhere / "clip.safetensors")}},
        "backbone.model": {"backbone": {**backbone, "model": str(elsewhere / "clip.json")}},
        "dataset": {"datasets": [f"image_folder:{elsewhere / 'data' / 'ponds'}"]},
        "sentences_file of coprompt": {
            "methods": [{"name": "coprompt", "options": {"sentences_file": str(elsewhere / "ponds.yaml")}}]
        },
    }
    with pytest.raises(AtlasError, match=f"^{what} "):
        carry_out(world.study(**changed[what]), world.placement)
    assert not world.placement.store_path.exists()


@pytest.mark.parametrize(
    "field",
    [
        {"folder": "../../outside/data/ponds"},
        {"folder": "./link/data/ponds"},
        {"folder": "new", "layout": "hf_parquet", "source": {"parquet": "link/data"}},
    ],
)
def test_a_description_inside_that_leads_outside_is_refused(
    field: dict[str, Any], world: TinyWorld, outside: Path
) -> None:
    write_yaml(world.home / "sly.yaml", {"name": "sly", "layout": "image_folder", **field})
    with pytest.raises(AtlasError, match="of dataset 'sly'"):
        check_study(world.study(datasets=[str(world.home / "sly.yaml")]), world.placement)


def test_a_description_elsewhere_is_not_even_opened(world: TinyWorld, outside: Path) -> None:
    for name in ("ponds.yaml", "secret"):
        (outside / name).write_text("password: 12345")
    for name in (
        f"{outside}/ponds.yaml",
        f"{outside}/ponds",
        f"table:{outside}/secret",
        "../../../../secret",
    ):
        assert dataset_path(name) is not None
        with pytest.raises(AtlasError, match=r"^dataset .* is not below") as caught:
            check_dataset(name)
        assert "12345" not in str(caught.value)


def test_a_flows_parameters_are_checked_while_they_are_read(world: TinyWorld, outside: Path) -> None:
    parameters = {"datasets": [str(outside / "ponds.yaml")], "placement": {"home": str(outside)}}
    with pytest.raises(ParameterTypeError, match="not below a folder that this worker's operator"):
        base_to_new.validate_parameters(parameters)


def test_several_roots_are_separated_as_in_path(
    world: TinyWorld, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED_ROOTS, os.pathsep.join([str(world.home), str(outside)]))
    check_study(world.study(), Placement(home=outside))

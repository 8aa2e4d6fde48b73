"""`atlas store accept`: artifacts are taken over where remaking some gives the same bits, and only there."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.errors import AtlasError
from atlas_core.labels.ols import OnlineSmoothing
from atlas_core.operations.acceptance import Candidate, candidates, check, drawn, enter
from atlas_core.operations.verify import check_artifacts
from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import Resolver
from atlas_core.plan.session import run_study
from atlas_core.store import Store
from tests.plan.conftest import EditModule
from tests.plan.test_explain import why
from tests.tiny_study import TinyWorld, draw_image_folder, write_yaml


def found_in(world: TinyWorld, **overrides: Any) -> list[Candidate]:
    graph = build_graph(world.study(**overrides), world.placement)
    return candidates(graph, Resolver(graph, Store(world.placement.store_path)))


def accept(world: TinyWorld, number: int = 3, **overrides: Any) -> tuple[list[Candidate], list[str]]:
    """Candidates, and the names of those that were remade."""
    store, found = Store(world.placement.store_path), found_in(world, **overrides)
    units = drawn(found, number)
    for unit in units:
        check(store, unit, world.placement)
    checked = [each.job.name for unit in units for each in unit]
    enter(store, found, checked, world.placement)
    return found, checked


def artifacts(world: TinyWorld) -> set[tuple[str, str]]:
    return {(each.stage, each.key) for each in Store(world.placement.store_path).manifests()}


def edit_ols(edit_module: EditModule) -> None:
    edit_module("atlas_core.labels.ols", lambda text: text.replace("_counts > 0", "_counts > 0.5"))


def edit_everything(edit_module: EditModule) -> None:
    """The planner sees a change of what reads a file's bytes, loads a backbone and averages the loss."""
    edit_module(
        "atlas_core.backbone.load", lambda text: text.replace("def _load(", "def _load(_extra=None, *, ")
    )
    edit_module("atlas_core.labels.soft_labels", lambda text: text.replace("return out", "return +out"))
    edit_module("atlas_core.labels.base", lambda text: text.replace(".mean()", ".mean() + 0"))


def test_a_fresh_study_has_no_candidates(world: TinyWorld) -> None:
    assert found_in(world) == []


def test_a_change_that_changes_no_number_is_accepted_and_nothing_is_made_again(
    world: TinyWorld, edit_module: EditModule
) -> None:
    before = artifacts(world)
    edit_ols(edit_module)
    found, checked = accept(world)
    assert {each.job.name.split("/")[5] for each in found} == {"ols"}
    assert len(checked) == len(found) == 2
    assert artifacts(world) == before | {(each.job.stage, each.job.key) for each in found}
    assert world.run().made == []


def test_all_stages_are_accepted_from_the_first_that_is_stale_on(
    world: TinyWorld, edit_module: EditModule
) -> None:
    edit_everything(edit_module)
    found, checked = accept(world, 1)
    assert {each.job.stage for each in found} == {
        "text_features", "image_features", "csl", "isl", "tune", "evaluate",
    }  # fmt: skip
    assert len(checked) == 6
    nodes = build_graph(world.study(), world.placement).nodes
    assert len(found) == len([each for each in nodes if each.stage not in ("fetch", "index", "aggregate")])
    assert world.run().made == []


def test_an_accepted_artifact_says_when_from_which_key_and_what_was_checked(
    world: TinyWorld, edit_module: EditModule
) -> None:
    edit_ols(edit_module)
    found, checked = accept(world, 1)
    store = Store(world.placement.store_path)
    for each in found:
        manifest = store.lookup("tune", each.job.key)
        assert manifest is not None
        assert manifest.accepted is not None
        assert manifest.accepted.from_key == each.manifest.key
        assert manifest.accepted.checked == checked
        assert manifest.accepted.when >= manifest.created == each.manifest.created
        assert (manifest.digest, manifest.outputs) == (each.manifest.digest, each.manifest.outputs)
    assert not [checked.name for checked in check_artifacts(store) if checked.faults]
    lines = why(world, "ponds /ols")
    (line,) = [line.strip() for line in lines if "accepted" in line]
    assert line.endswith(f"from key {found[0].manifest.key[:16]}: 1 artifacts were remade alike")


def test_a_change_that_changes_a_number_is_named_and_nothing_is_accepted(
    world: TinyWorld, edit_module: EditModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = artifacts(world)
    edit_ols(edit_module)
    end_epoch = OnlineSmoothing.end_epoch

    def other(self: OnlineSmoothing) -> None:
        end_epoch(self)
        self._matrix = self._matrix + torch.finfo(torch.float32).eps

    monkeypatch.setattr(OnlineSmoothing, "end_epoch", other)
    with pytest.raises(
        AtlasError, match=r"tune/.*/ols/seed1: (curves.parquet|prompts.safetensors) is not what"
    ):
        accept(world)
    assert artifacts(world) == before
    assert not list((world.placement.store_path / ".tmp").iterdir())


def test_code_that_fails_is_named_and_nothing_is_accepted(
    world: TinyWorld, edit_module: EditModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = artifacts(world)
    edit_ols(edit_module)
    monkeypatch.delattr(OnlineSmoothing, "observe")
    monkeypatch.setattr(OnlineSmoothing, "target", lambda *_: 1 / 0)
    with pytest.raises(AtlasError, match="cannot be remade: ZeroDivisionError"):
        accept(world)
    assert artifacts(world) == before


def test_another_configuration_or_content_is_no_candidate(world: TinyWorld, edit_module: EditModule) -> None:
    edit_ols(edit_module)
    supervisions = ["one_hot", {"name": "ols", "options": {"soft_weight": 0.4}}]
    assert found_in(world, supervisions=supervisions) == []


def test_after_an_interruption_a_second_call_goes_on(
    world: TinyWorld, edit_module: EditModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_everything(edit_module)
    all_of_them = len(found_in(world))
    entered = Store.enter

    count = 0

    def enter_five(self: Store, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count > 5:
            raise KeyboardInterrupt
        return entered(self, *arguments)

    monkeypatch.setattr(Store, "enter", enter_five)
    with pytest.raises(KeyboardInterrupt):
        accept(world, 1)
    monkeypatch.setattr(Store, "enter", entered)
    store = Store(world.placement.store_path)
    assert not [checked.name for checked in check_artifacts(store) if checked.faults]
    found, _ = accept(world, 1)
    assert len(found) == all_of_them - 5
    assert world.run().made == []


def test_where_the_disk_has_no_links_files_are_copied(
    world: TinyWorld, edit_module: EditModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", no_links)
    edit_ols(edit_module)
    accept(world, 1)
    assert world.run().made == []


def test_a_stack_is_remade_as_a_stack(world: TinyWorld, edit_module: EditModule) -> None:
    study: dict[str, Any] = {
        "methods": [{"name": "coop", "options": {"n_ctx": 3, "ctx_init": ""}}],
        "datasets": [str(world.home / "ponds.yaml")],
        "supervisions": ["one_hot", "ls", "atlas_csl"],
    }
    run_study(world.study(**study), world.placement.model_copy(update={"stack": 8}))
    edit_module(
        "atlas_core.training.stack", lambda text: text.replace("def can_stack(", "def can_stack(_=0, /, *, ")
    )
    found, checked = accept(world, **study)
    trainings = [each for each in found if each.job.stage == "tune"]
    assert [each.manifest.trained_with for each in trainings] == [1, 1, 0]
    assert {each.job.name for each in trainings} <= set(checked)
    assert world.run(**study).made == []


def test_a_part_of_a_stack_cannot_be_checked(world: TinyWorld, edit_module: EditModule) -> None:
    methods = [{"name": "coop", "options": {"n_ctx": 3, "ctx_init": ""}}]
    stacked = world.placement.model_copy(update={"stack": 8})
    run_study(world.study(methods=methods, supervisions=["one_hot", "ls"]), stacked)
    edit_module(
        "atlas_core.training.stack", lambda text: text.replace("def can_stack(", "def can_stack(_=0, /, *, ")
    )
    with pytest.raises(AtlasError, match="none of the 2 tune artifacts can be made as it was"):
        accept(world, methods=methods, supervisions=["ls"])


@pytest.fixture
def drawn_world(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A finished study of one dataset that a generator drew; what differs from the tiny study."""

    def generate(name: str, destination: Path) -> None:
        draw_image_folder(destination, images=6, side=40, seed=7)

    monkeypatch.setattr("atlas_core.datasets.demo.generate", generate)
    description = {
        "name": "drawn",
        "layout": "image_folder",
        "folder": "drawn",
        "source": {"generator": "demo"},
    }
    write_yaml(world.home / "drawn.yaml", description)
    study = {"datasets": [str(world.home / "drawn.yaml")], "supervisions": ["one_hot"]}
    world.run(**study)
    return study


def edit_generator(edit_module: EditModule) -> None:
    edit_module("atlas_core.datasets.demo", lambda text: text.replace("number == 0", "number < 1"))


def test_a_drawn_dataset_is_drawn_again_beside_and_stays_as_it_is(
    world: TinyWorld, drawn_world: dict[str, Any], edit_module: EditModule
) -> None:
    files = sorted((world.home / "data" / "drawn").rglob("*.png"))
    written = [file.stat().st_mtime_ns for file in files]
    edit_generator(edit_module)
    found, checked = accept(world, **drawn_world)
    assert checked == [each.job.name for each in found] == ["fetch/drawn"]
    assert world.run(**drawn_world).made == []
    assert [file.stat().st_mtime_ns for file in files] == written


def test_a_dataset_that_is_drawn_otherwise_is_named(
    world: TinyWorld, drawn_world: dict[str, Any], edit_module: EditModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_generator(edit_module)
    monkeypatch.setattr(
        "atlas_core.datasets.demo.generate",
        lambda name, folder: draw_image_folder(folder, images=6, side=40, seed=8),
    )
    with pytest.raises(AtlasError, match=r"fetch/drawn: blue jay/00.png is not what the store has"):
        accept(world, **drawn_world)


def test_which_are_remade_follows_from_their_names_alone(world: TinyWorld, edit_module: EditModule) -> None:
    edit_everything(edit_module)
    found = found_in(world)
    chosen = [[[each.job.name for each in unit] for unit in drawn(some, 2)] for some in (found, found[::-1])]
    assert sorted(map(str, chosen[0])) == sorted(map(str, chosen[1]))
    assert len(chosen[0]) == 2 * 6


def test_the_command_says_what_was_remade_and_what_was_accepted(
    world: TinyWorld, edit_module: EditModule, tmp_path: Path
) -> None:
    study = tmp_path / "tiny.yaml"
    study.write_text(yaml.safe_dump(world.raw_study()))
    command = ["store", "accept", str(study), "--home", str(world.home), "--device", "cpu", "--check", "1"]
    done = CliRunner().invoke(app, command)
    assert "0 accepted, because none is stale for its code alone" in done.output
    edit_ols(edit_module)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "the same  tune/" in done.output
    assert "1 artifacts remade, all of them the same; 2 accepted" in done.output
    assert world.run().made == []

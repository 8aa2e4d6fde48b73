"""What `atlas status` prints."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.errors import AtlasError
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("status"))
    world.run()
    return world


def status(world: TinyWorld, *arguments: str, **overrides: object) -> str:
    study = world.home / "study.yaml"
    study.write_text(yaml.safe_dump(world.raw_study(**overrides)))
    command = ["status", str(study), "--home", str(world.home), *arguments]
    answer = CliRunner().invoke(app, command, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def rows(printed: str) -> dict[str, list[str]]:
    """Stage → its numbers as they are printed."""
    lines = [line.split() for line in printed.splitlines() if line.startswith("tiny ")]
    return {stage: numbers for _, stage, *numbers in lines}


def test_of_a_finished_study_everything_is_fresh(finished: TinyWorld) -> None:
    printed = status(finished)
    assert printed.split("\n")[0].split() == ["study", "stage", "fresh", "stale", "missing", "pending"]
    assert rows(printed)["tune"] == ["10", "·", "·", "·"]
    assert rows(printed)["evaluate"] == ["20", "·", "·", "·"]
    assert printed.splitlines()[-1] == "tiny: 0 of 49 artifacts to make"


def test_before_anything_ran_everything_is_missing(tmp_path: Path) -> None:
    printed = status(make_world(tmp_path / "new"))
    assert rows(printed)["fetch"] == ["·", "·", "2", "·"]
    assert rows(printed)["aggregate"] == ["·", "·", "1", "·"]
    assert "tiny: 49 of 49 artifacts to make\n" in printed
    assert "missing  ponds/base/2-shot/coop/one_hot/seed1" in printed


def test_another_epsilon_and_another_seed_are_told_apart(finished: TinyWorld) -> None:
    printed = status(finished, supervisions=["one_hot", {"name": "ls", "mix": 0.2}], seeds=[1, 2])
    assert rows(printed)["tune"] == ["2", "2", "4", "·"]
    runs = [line.split() for line in printed.splitlines() if line.startswith(("stale", "missing", "pending"))]
    assert ["stale", "ponds/base/2-shot/coop/ls(mix=0.2)/seed1"] in runs
    assert ["missing", "ponds/base/2-shot/coop/ls(mix=0.2)/seed2"] in runs
    assert not any("one_hot/seed1" in name for _, name in runs)


def test_in_a_copied_store_the_number_to_make_is_a_range(finished: TinyWorld, tmp_path: Path) -> None:
    world = make_world(tmp_path / "elsewhere")
    shutil.copytree(finished.placement.store_path, world.placement.store_path, copy_function=shutil.copyfile)
    printed = status(world)
    assert rows(printed)["index"] == ["·", "2", "·", "·"]
    assert rows(printed)["tune"] == ["·", "·", "·", "10"]
    assert "tiny: between 2 and 47 of 49 artifacts to make (45 are pending: " in printed
    assert "pending  ponds/base/2-shot/coop/one_hot/seed1" in printed


def test_of_many_runs_sixty_are_named_and_the_rest_counted(finished: TinyWorld) -> None:
    printed = status(finished, seeds=list(range(2, 12)))
    assert printed.count("\nmissing  ") == 60
    assert "… and 40 more runs (all of them: --format json)" in printed


def test_as_json_it_is_a_list_of_all_nodes(finished: TinyWorld) -> None:
    listed = json.loads(status(finished, "--format", "json", seeds=[1, 2]))
    assert {each["study"] for each in listed} == {"tiny"}
    by_name = {each["name"]: each for each in listed}
    assert len(by_name) == len(listed)
    assert by_name["tune/ponds/base/2-shot/coop/ls/seed1"] == {
        "study": "tiny",
        "stage": "tune",
        "name": "tune/ponds/base/2-shot/coop/ls/seed1",
        "status": "fresh",
    }
    assert by_name["tune/ponds/base/2-shot/coop/ls/seed2"]["status"] == "missing"


def test_another_format_is_refused(finished: TinyWorld) -> None:
    with pytest.raises(AtlasError, match="unknown format 'yaml'"):
        status(finished, "--format", "yaml")

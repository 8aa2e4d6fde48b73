"""What `atlas plan` prints."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("plan"))
    world.run()
    return world


def invoke(*arguments: str) -> list[str]:
    answer = CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    told = answer.output.splitlines()
    # What was understood stands between the study's title and what it would do.
    begin = next(n for n, line in enumerate(told) if re.match(r"  (\d+ runs, |note |conflict )", line))
    return [told[0], *told[begin:]]


def plan(world: TinyWorld, *arguments: str, **overrides: object) -> list[str]:
    study = world.home / "study.yaml"
    study.write_text(yaml.safe_dump(world.raw_study(**overrides)))
    return invoke(str(study), "--home", str(world.home), "--workers", "1", "--device", "cpu", *arguments)


def test_on_an_empty_store_the_shipped_model_gives_time_and_disk(tmp_path: Path) -> None:
    lines = invoke(
        "base-to-new", "--set", "seeds=[1]", "--set", "datasets=[demo_shapes]", "--home", str(tmp_path),
        "--workers", "1", "--device", "cpu",
    )  # fmt: skip
    assert lines[0].startswith("base-to-new-demo Four methods")
    assert lines[1] == "  21 runs, 0 of them cached; 77 of 77 artifacts to make"
    said = re.fullmatch(r"  about (\d+) s on 1 worker, about (\d+\.\d) MB on disk", lines[2])
    assert said is not None
    # Measured: 26.9 s of jobs; 10.8 MB of artifacts and 4.6 MB of images (tests/plan/test_cost_model.py).
    assert 20 <= int(said[1]) <= 35
    assert 12 <= float(said[2]) <= 19
    assert lines[3] == (
        "  estimated from the shipped cost model for a CPU core: nothing of the kind was made on this store yet"
    )
    assert len(lines) == 4
    assert not (tmp_path / "store").exists()


def test_for_a_gpu_it_says_that_none_was_measured(tmp_path: Path) -> None:
    lines = invoke(
        "base-to-new", "--preset", "paper", "--device", "cuda", "--workers", "8", "--home", str(tmp_path)
    )
    assert re.fullmatch(r"  about [\d.]+ h on 8 workers, about [\d.]+ GB on disk", lines[-2])
    assert "for a GPU, which was not measured on one" in lines[-1]


def test_of_a_finished_study_nothing_is_to_make_and_nothing_estimated(finished: TinyWorld) -> None:
    lines = plan(finished)
    assert lines[1] == "  10 runs, 10 of them cached; 0 of 49 artifacts to make"
    assert not any("on disk" in line or "estimated" in line for line in lines)


def test_another_seed_is_estimated_from_what_the_first_has_cost(finished: TinyWorld) -> None:
    lines = plan(finished, seeds=[1, 2])
    assert lines[1].startswith("  20 runs, 10 of them cached; ")
    assert lines[-1] == "  estimated from what such jobs have cost on this store"
    spent = sum(each.wall_seconds for each in Store(finished.placement.store_path).manifests("tune"))
    said = re.match(r"  about (\d+) s on 1 worker", lines[-2])
    assert said is not None
    assert int(said[1]) >= int(spent)


def test_a_method_that_was_never_run_is_estimated_from_both(finished: TinyWorld) -> None:
    lines = plan(finished, methods=[*finished.raw_study()["methods"], "kgcoop"])
    assert lines[-1].startswith(
        "  estimated from what such jobs have cost on this store, and from the shipped cost model for a CPU core: "
    )
    assert "tune" in lines[-1].rpartition(": ")[2]
    assert "aggregate" not in lines[-1].rpartition(": ")[2]


def test_in_a_copied_store_everything_is_a_range(finished: TinyWorld, tmp_path: Path) -> None:
    world = make_world(tmp_path / "elsewhere")
    shutil.copytree(finished.placement.store_path, world.placement.store_path, copy_function=shutil.copyfile)
    lines = plan(world)
    assert lines[1].startswith(
        "  10 runs, 0 of them cached and 10 perhaps; between 2 and 47 of 49 artifacts to make (45 are pending: "
    )
    assert re.match(r"  between \d+ s and \d+ s on 1 worker|  about \d+ s on 1 worker", lines[2])
    assert " MB on disk" in lines[2]


def test_a_study_that_never_comes_to_its_soft_labels_is_noted(finished: TinyWorld) -> None:
    noted = [
        line for line in plan(finished, training={"epochs": 2, "batch_size": 4}) if line.startswith("  note ")
    ]
    assert noted
    assert "fewer than K" in noted[0]

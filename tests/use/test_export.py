"""`atlas export`: the folder, and its loader that needs open_clip alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas_core.errors import AtlasError
from atlas_core.store import Store
from atlas_core.use.runs import open_run
from tests.tiny_study import TinyWorld, make_world
from tests.use.test_predict import atlas

ROOT = str(Path(__file__).parents[2])


def readme_program(folder: Path) -> str:
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.S)
    assert found is not None
    return found[1]


def assert_printed_as_predicted(world: TinyWorld, image: Path, words: str, printed: str) -> None:
    said = json.loads(atlas(world, "predict", image, "--run", words, "--format", "json"))[0]["classes"]
    lines = [line.split(maxsplit=1) for line in printed.splitlines()]
    assert [name for _, name in lines] == [each["name"] for each in said]
    for (share, _), each in zip(lines, said, strict=True):
        assert float(share) == pytest.approx(each["probability"], abs=2e-5)


def test_the_readmes_program_gives_the_probabilities_of_predict(
    world: TinyWorld, image: Path, tmp_path: Path
) -> None:
    """As a user runs it: a process of its own, from a folder where this project cannot be imported."""
    folder = tmp_path / "exported"
    atlas(world, "export", "coop one_hot", folder)
    program = readme_program(folder)
    assert program == (folder / "classify.py").read_text()
    blocked = "import sys; sys.modules['atlas_core'] = None\n"
    ran = subprocess.run(
        [sys.executable, "-c", blocked + program, image, world.home / "clip.safetensors"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert_printed_as_predicted(world, image, "coop one_hot", ran.stdout)


@pytest.mark.parametrize("words", ["kgcoop atlas_csl", "zero_shot"])
def test_so_it_does_for_other_methods(
    world: TinyWorld,
    image: Path,
    tmp_path: Path,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "exported"
    atlas(world, "export", words, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["classify.py", str(image), str(world.home / "clip.safetensors")])
    exec(compile(readme_program(folder), "classify.py", "exec"), {})
    assert_printed_as_predicted(world, image, words, capsys.readouterr().out)


def test_the_folder_says_what_it_is(world: TinyWorld, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    atlas(world, "export", "coop one_hot", folder)
    run = open_run(store, "coop one_hot")
    config = json.loads((folder / "config.json").read_text())
    assert config["classes"] == list(run.classes)
    assert config["method"] == "coop"
    text = load_file(folder / "classes.safetensors")
    assert text["features"].shape == (len(run.classes), 24)
    assert torch.allclose(text["normalised"].norm(dim=1), torch.ones(len(run.classes)), atol=1e-5)
    card = (folder / "MODEL_CARD.md").read_text()
    assert all(
        name in card for name in (*run.classes, "| ponds | base |", "| ponds | new |", "2 images a class")
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("cocoop one_hot", "makes other class features for each image"),
        ("maple one_hot", "changes the image tower"),
        ("dept_coop one_hot", "adds a head of its own"),
    ],
)
def test_methods_that_class_features_do_not_describe_are_exported_without_them(
    world: TinyWorld, image: Path, tmp_path: Path, words: str, reason: str
) -> None:
    folder = tmp_path / "exported"
    atlas(world, "export", words, folder)
    assert {path.name for path in folder.iterdir()} == {
        "prompts.safetensors", "config.json", "README.md", "MODEL_CARD.md", "atlas-clip-clip.json",
    }  # fmt: skip
    assert reason in (folder / "README.md").read_text()


@pytest.mark.parametrize("words", ["coop one_hot", "maple one_hot"])
def test_an_exported_folder_predicts_like_the_run(
    world: TinyWorld, image: Path, tmp_path: Path, words: str
) -> None:
    folder = tmp_path / "exported"
    atlas(world, "export", words, folder)
    by_folder = atlas(world, "predict", image, "--run", folder, "--format", "json")
    assert by_folder == atlas(world, "predict", image, "--run", words, "--format", "json")


def test_a_folder_that_holds_something_is_left_alone(world: TinyWorld, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(AtlasError, match="not empty"):
        atlas(world, "export", "coop one_hot", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_export_is_one_clear_error(world: TinyWorld, image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    atlas(world, "export", "coop one_hot", folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(AtlasError, match="is not an exported run's"):
        atlas(world, "predict", image, "--run", folder)


def test_weights_that_open_clip_does_not_read_are_rewritten_as_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make_world(tmp_path / "world")
    weights = world.home / "clip.safetensors"
    state = {f"model.{name}": value for name, value in load_file(weights).items()}
    save_file(state, weights)
    world.run(
        datasets=[str(world.home / "ponds.yaml")],
        methods=[{"name": "coop", "options": {"n_ctx": 2, "ctx_init": ""}}],
        supervisions=["one_hot"],
        training={"epochs": 1, "batch_size": 4},
    )
    folder = tmp_path / "exported"
    atlas(world, "export", "coop", folder)
    found = re.search(r"^    (python -c .*)$", (folder / "README.md").read_text(), flags=re.M)
    assert found is not None
    python, *arguments = shlex.split(found[1].replace("FILE", str(weights)))
    assert python == "python"
    subprocess.run(
        [sys.executable, *arguments], check=True, cwd=folder, env={**os.environ, "PYTHONPATH": ROOT}
    )
    image = world.home / "data" / "ponds" / "red fox" / "00.png"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["classify.py", str(image), "WEIGHTS.safetensors"])
    exec(compile(readme_program(folder), "classify.py", "exec"), {})
    assert_printed_as_predicted(world, image, "coop", capsys.readouterr().out)


def test_the_readme_says_nothing_of_rewriting_where_open_clip_reads_the_weights(
    world: TinyWorld, tmp_path: Path
) -> None:
    atlas(world, "export", "coop one_hot", tmp_path / "exported")
    assert "write_for_open_clip" not in (tmp_path / "exported" / "README.md").read_text()

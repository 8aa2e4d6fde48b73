"""`atlas predict`: own images, own class names, damaged images."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from atlas_core.backbone.load import load_backbone
from atlas_core.cli import app
from atlas_core.errors import AtlasError
from atlas_core.store import Store
from atlas_core.use.predict import class_probabilities, read_images
from atlas_core.use.runs import backbone_of, evaluations_of, open_run
from atlas_core.use.trained import load_trained, read_class_names
from tests.tiny_study import TinyWorld


def atlas(world: TinyWorld, *arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "--home", str(world.home)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    "words",
    ["coop one_hot", "cocoop one_hot", "kgcoop one_hot", "dept_coop one_hot", "maple one_hot", "zero_shot"],
)
@pytest.mark.parametrize("subset", ["base", "new"])
def test_probabilities_are_those_that_the_study_stored(
    world: TinyWorld, store: Store, words: str, subset: str
) -> None:
    run = open_run(store, words)
    assert run.manifest is not None
    evaluations = {each.key_parts["config"]["subset"]: each for each in evaluations_of(store, run.manifest)}
    folder = store.path("evaluate", evaluations[subset].key)
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    names = pq.read_table(folder / "classes.parquet")["class_name"].to_pylist()
    clip = load_backbone(backbone_of(run, store))
    method = load_trained(run, clip, None if subset == "base" else names)
    views = read_images([world.home / "data" / "ponds" / row["item"] for row in rows], clip.image_size)
    found = class_probabilities(method, clip, views)
    for row, probabilities in zip(rows, found, strict=True):
        assert float(probabilities[row["label"]]) == pytest.approx(row["label_probability"], abs=1e-4)
        assert float(probabilities[row["prediction"]]) == pytest.approx(row["probability"], abs=1e-4)


def test_the_table_names_image_and_classes_best_first(world: TinyWorld, image: Path) -> None:
    lines = atlas(world, "predict", image, "--run", "coop one_hot").splitlines()
    assert lines[0] == str(image)
    shares = [float(line.split()[0]) for line in lines[1:]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_json_and_csv_say_the_same(world: TinyWorld, image: Path) -> None:
    command = ("predict", image, image, "--run", "coop one_hot", "--top", 1, "--format")
    said = json.loads(atlas(world, *command, "json"))
    rows = list(csv.DictReader(io.StringIO(atlas(world, *command, "csv"))))
    assert [row["image"] for row in rows] == [each["image"] for each in said] == [str(image)] * 2
    assert [row["class"] for row in rows] == [each["classes"][0]["name"] for each in said]
    assert float(rows[0]["probability"]) == pytest.approx(said[0]["classes"][0]["probability"], abs=1e-6)


def test_other_class_names_take_the_place_of_the_trained_ones(
    world: TinyWorld, image: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a_purple cow\n\n  teapot \n")
    for words in ("coop one_hot", "kgcoop one_hot", "dept_coop one_hot", "maple one_hot"):
        said = json.loads(
            atlas(world, "predict", image, "--run", words, "--classes", names, "--format", "json")
        )
        assert {each["name"] for each in said[0]["classes"]} == {"a purple cow", "teapot"}


@pytest.mark.parametrize(("content", "message"), [("", "are empty"), ("a_b\na b\n", "'a b' twice")])
def test_unusable_class_names_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(content)
    with pytest.raises(AtlasError, match=message):
        read_class_names(path)


@pytest.mark.parametrize("words", ["coop one_hot", "zero_shot"])
def test_class_names_that_are_one_to_the_tokenizer_are_refused(
    world: TinyWorld, image: Path, tmp_path: Path, words: str
) -> None:
    path = tmp_path / "names.txt"
    path.write_text("dog\nRed Fox\nR&amp;D\nred  fox\nR&D\n")
    with pytest.raises(AtlasError, match="'Red Fox' and 'red  fox'; 'R&amp;D' and 'R&D'"):
        atlas(world, "predict", image, "--run", words, "--classes", path)


def test_one_error_names_every_image_that_cannot_be_used(
    world: TinyWorld, image: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(image.read_bytes()[:200])
    with pytest.raises(AtlasError) as error:
        atlas(world, "predict", image, cut, tmp_path, tmp_path / "none.png", "--run", "coop one_hot")
    assert error.value.what.startswith("3 of 4 images cannot be used")
    for part in ("cut.png cannot be decoded", "is a folder", "none.png is missing"):
        assert part in error.value.what


def test_an_unknown_format_is_refused(world: TinyWorld, image: Path) -> None:
    with pytest.raises(AtlasError, match="unknown format"):
        atlas(world, "predict", image, "--run", "coop one_hot", "--format", "xml")

"""Datasets that share a name are trained, tested and shown as the different datasets that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atlas_core.results.current import open_results
from atlas_core.results.database import query
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world


def draw(folder: Path, classes: tuple[str, ...], images: int = 8, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(images):
            Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(
                folder / name / f"{number}.png"
            )
    return f"image_folder:{folder}"


def ask(world: TinyWorld, sql: str) -> list[dict[str, Any]]:
    return query(open_results(Store(world.placement.store_path)), sql).to_pylist()


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path / "home", images=2)


FEW_SHOT: dict[str, Any] = {"protocol": "few_shot", "methods": ["zero_shot"], "supervisions": ["one_hot"]}


def test_two_folders_of_one_name_are_two_datasets(world: TinyWorld) -> None:
    a = draw(world.home / "a" / "birds", ("robin", "wren"), seed=1)
    b = draw(world.home / "b" / "birds", ("eagle", "stork", "crane"), seed=2)
    world.run(**FEW_SHOT, datasets=[a, b])
    sizes = ask(world, "SELECT dataset, n_classes FROM evaluations ORDER BY dataset")
    assert sizes == [{"dataset": "a-birds", "n_classes": 2}, {"dataset": "b-birds", "n_classes": 3}]
    names = ask(
        world, "SELECT target, list(class_name ORDER BY label) AS names FROM classes GROUP BY 1 ORDER BY 1"
    )
    assert [row["names"] for row in names] == [["robin", "wren"], ["crane", "eagle", "stork"]]


def test_source_and_target_of_one_folder_name_are_told_apart(world: TinyWorld) -> None:
    source = draw(world.home / "photo" / "birds", ("robin", "wren"), seed=1)
    target = draw(world.home / "sketch" / "birds", ("robin", "wren", "crane"), images=20, seed=2)
    world.run(
        protocol="cross_dataset", datasets=[], source=source, targets=[target], methods=["zero_shot"],
        supervisions=["one_hot"],
    )  # fmt: skip
    found = ask(world, "SELECT dataset, target, n_classes, n_samples FROM evaluations ORDER BY target")
    assert [(row["dataset"], row["target"], row["n_classes"], row["n_samples"]) for row in found] == [
        ("photo-birds", "photo-birds", 2, 4),
        ("photo-birds", "sketch-birds", 3, 18),
    ]


def test_studies_of_one_store_show_each_their_own_dataset(world: TinyWorld) -> None:
    a = draw(world.home / "a" / "birds", ("robin", "wren"), seed=1)
    b = draw(world.home / "b" / "birds", ("eagle", "stork"), seed=2)
    world.run(**FEW_SHOT, name="first", datasets=[a])
    assert {row["dataset"] for row in ask(world, "FROM evaluations")} == {"birds"}
    world.run(**FEW_SHOT, name="second", datasets=[b])
    assert {row["dataset"] for row in ask(world, "FROM evaluations")} == {"a-birds", "b-birds"}
    wrong = "FROM class_accuracy WHERE (target = 'a-birds') <> (class_name IN ('robin', 'wren'))"
    assert ask(world, wrong) == []
    tested = "SELECT target, count(*) AS n FROM predictions GROUP BY target ORDER BY target"
    assert ask(world, tested) == [{"target": "a-birds", "n": 4}, {"target": "b-birds", "n": 4}]


def test_a_dataset_that_two_studies_name_differently_is_counted_once(world: TinyWorld) -> None:
    a = draw(world.home / "a" / "birds", ("robin", "wren"), seed=1)
    b = draw(world.home / "b" / "birds", ("eagle", "stork"), seed=2)
    world.run(**FEW_SHOT, name="first", datasets=[a])
    made = world.run(**FEW_SHOT, name="second", datasets=[a, b]).made
    # What was read and encoded under the other name is used.
    assert not [name for name in made if "features/a-birds" in name or "index/a-birds" in name]
    found = ask(world, "SELECT dataset FROM evaluations ORDER BY dataset")
    assert [row["dataset"] for row in found] == ["a-birds", "b-birds"]


def test_a_dataset_that_changed_between_two_studies_is_not_mixed(world: TinyWorld) -> None:
    a = draw(world.home / "a" / "birds", ("robin", "wren"), seed=1)
    world.run(**FEW_SHOT, name="first", datasets=[a])
    draw(world.home / "a" / "birds", ("crane", "kite"), seed=2)
    world.run(**FEW_SHOT, name="second", datasets=[a])
    found = ask(world, "SELECT dataset, n_classes FROM evaluations ORDER BY n_classes")
    assert found[1] == {"dataset": "birds", "n_classes": 4}
    assert found[0]["dataset"].startswith("birds-")


def test_a_part_of_a_published_dataset_says_so(world: TinyWorld) -> None:
    folder = world.home / "data" / "imagenet"
    for split in ("train", "val"):
        draw(folder / "images" / split, ("n01440764", "n01443537"), seed=1)
    (folder / "classnames.txt").write_text("n01440764 tench\nn01443537 goldfish\n")
    own = draw(world.home / "eurosat", ("river", "forest"), seed=3)
    world.run(**FEW_SHOT, datasets=["imagenet", own])
    rows = {row["dataset"]: row for row in ask(world, "FROM few_shot WHERE dataset <> 'average'")}
    assert set(rows) == {"imagenet", "home-eurosat"}
    assert rows["imagenet"]["partial"] == (
        "train: 16 here, 1281167 published; test: 16 here, 50000 published; classes: 2 here, 1000 published"
    )
    assert rows["home-eurosat"]["partial"] is None
    assert {row["n_published"] for row in rows.values()} == {0}

"""`atlas case-study` on a tiny study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atlas_core.analysis.case_study import cases, choose_items
from atlas_core.analysis.training_set import TrainingSet, training_set
from atlas_core.backbone.load import load_backbone
from atlas_core.errors import AtlasError
from atlas_core.store import Store
from atlas_core.use.runs import FinishedRun, backbone_of, open_run
from tests.tiny_study import TinyWorld
from tests.use.test_predict import atlas


@pytest.fixture(scope="module")
def run(store: Store) -> FinishedRun:
    return open_run(store, "coop one_hot")


@pytest.fixture(scope="module")
def data(store: Store, run: FinishedRun) -> TrainingSet:
    assert run.manifest is not None
    return training_set(store, run.manifest)


def test_chosen_images_are_distinct_and_show_every_class_first(data: TrainingSet) -> None:
    items = choose_items(data, 4)
    assert len(set(items)) == 4
    labels = [int(data.labels[data.items.index(item)]) for item in items]
    assert sorted(labels) == [0, 0, 1, 1]


def test_the_first_two_are_the_surest_and_the_least_sure(data: TrainingSet) -> None:
    assert data.targets.isl is not None
    sure = [float(rows[:, label].mean()) for rows, label in zip(data.targets.isl, data.labels, strict=True)]
    first, second = choose_items(data, 2)
    assert first == data.items[int(np.argmax(sure))]
    others = [
        value for value, label in zip(sure, data.labels, strict=True) if label != data.labels[np.argmax(sure)]
    ]
    assert sure[data.items.index(second)] == min(others)


def test_soft_labels_are_the_frozen_models_zero_shot_prediction(
    world: TinyWorld, store: Store, run: FinishedRun, data: TrainingSet
) -> None:
    clip = load_backbone(backbone_of(run, store))
    item = data.items[0]
    (case,) = cases(data, clip, world.home / "data" / "ponds", [item])
    image = world.home / "data" / "ponds" / item
    said = atlas(world, "predict", image, "--run", "zero_shot", "--format", "csv").splitlines()[1:]
    expected = {row.split(",")[2]: float(row.split(",")[3]) for row in said}
    for name, value in zip(data.names, case.isl, strict=True):
        assert value == pytest.approx(expected[name], abs=1e-4)
    assert case.picture.shape == (32, 32, 3)
    assert int(case.csl.argmax()) == case.label


def test_the_command_draws_svg_and_png(world: TinyWorld, tmp_path: Path) -> None:
    atlas(world, "case-study", "coop one_hot", "--count", 2, "--output", tmp_path)
    assert (tmp_path / "case_study.png").stat().st_size > 1000
    assert "<svg" in (tmp_path / "case_study.svg").read_text()


def test_an_image_that_was_not_trained_on_is_refused(
    world: TinyWorld, data: TrainingSet, tmp_path: Path
) -> None:
    with pytest.raises(AtlasError, match="none of the run's"):
        atlas(world, "case-study", "coop one_hot", "--image", "red fox/99.png", "--output", tmp_path)
    assert list(tmp_path.iterdir()) == []

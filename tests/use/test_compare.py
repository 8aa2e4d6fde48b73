"""`atlas compare`: hand-made sides with known differences, then runs and studies of a store."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from atlas_core.errors import AtlasError
from atlas_core.store import Store
from atlas_core.use.compare import MEASURES, Side, compare_names, compare_sides
from atlas_core.use.comparison_text import comparison_json, comparison_text
from tests.tiny_study import TinyWorld
from tests.use.test_predict import atlas

CLASSES = pd.DataFrame(
    {"target": "ponds", "subset": "base", "label": [0, 1], "class_name": ["red fox", "blue jay"]}
)


def side(name: str, predicted: list[int], accuracy: float, **settings: object) -> Side:
    """Four images, two a class, of one run."""
    place = {"target": "ponds", "subset": "base"}
    metrics = pd.DataFrame([{"arm": "", **place, **dict.fromkeys(MEASURES, accuracy)}])
    images = {"item": list("abcd"), "label": [0, 0, 1, 1], "prediction": predicted, "pair": ""}
    return Side(name, dict(settings), metrics, pd.DataFrame({**place, **images}), CLASSES)


def test_differences_are_those_worked_out_by_hand() -> None:
    found = compare_sides(side("x", [0, 0, 1, 0], 75.0, lr=1), side("y", [0, 1, 1, 1], 75.0, lr=2))
    assert [(each.field, each.then, each.now) for each in found.settings] == [("lr", 1, 2)]
    assert (found.compared, found.agreed) == (4, 2)
    by_class = found.classes.set_index("class_name")
    assert by_class.loc["red fox", ["accuracy_a", "accuracy_b", "difference"]].tolist() == [100, 50, -50]
    assert by_class.loc["blue jay", ["accuracy_a", "accuracy_b", "difference"]].tolist() == [50, 100, 50]
    images = found.images[["item", "label", "prediction_a", "prediction_b", "runs"]].values.tolist()
    assert images == [["b", "red fox", "red fox", "blue jay", 1], ["d", "blue jay", "red fox", "blue jay", 1]]
    assert found.metrics["accuracy_difference"].tolist() == [0]


def test_a_side_compared_with_itself_differs_in_nothing() -> None:
    found = compare_sides(side("x", [0, 1, 1, 0], 50.0), side("x", [0, 1, 1, 0], 50.0))
    assert found.settings == ()
    assert found.agreed == found.compared == 4
    assert found.images.empty
    assert (found.classes["difference"] == 0).all()
    assert "Settings: the same" in comparison_text(found, 5)


def test_sides_without_a_common_image_are_compared_in_their_metrics_alone() -> None:
    second = side("y", [0, 0, 0, 0], 50.0)
    elsewhere = Side(
        "y", {}, second.metrics.assign(target="woods"), second.predictions.assign(target="woods"), CLASSES
    )
    found = compare_sides(side("x", [0, 0, 1, 1], 100.0), elsewhere)
    assert found.compared == 0
    assert len(found.metrics) == 2
    assert found.metrics["accuracy_difference"].isna().all()
    assert "nothing to compare" in comparison_text(found, 5)


def test_two_runs_of_a_store(world: TinyWorld) -> None:
    said = json.loads(atlas(world, "compare", "coop one_hot", "coop atlas_csl", "--format", "json"))
    assert {"supervision.name", "supervision.source"} <= {each["field"] for each in said["settings"]}
    assert {(row["target"], row["subset"]) for row in said["metrics"]} == {
        ("ponds", "base"),
        ("ponds", "new"),
    }
    assert said["compared"] - said["agreed"] == len(said["images"])
    text = atlas(world, "compare", "coop one_hot", "coop atlas_csl", "--most", 1)
    assert "predictions agree" in text


def test_a_study_beside_itself_agrees_in_every_prediction(store: Store) -> None:
    found = compare_names(store, "tiny", "tiny")
    assert found.agreed == found.compared > 0
    assert {arm.split()[0] for arm in found.metrics["arm"]} >= {"coop", "maple", "zero_shot"}
    assert json.loads(comparison_json(found))["images"] == []


def test_a_study_and_a_run_are_not_compared(store: Store) -> None:
    with pytest.raises(AtlasError, match="'tiny' is a study"):
        compare_names(store, "coop one_hot", "tiny")

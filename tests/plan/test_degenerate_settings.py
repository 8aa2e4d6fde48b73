"""What says nothing is said so by the plan and marked in the tables, and no average has it in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlas_core.plan.build import build_graph
from atlas_core.plan.known_datasets import known_datasets
from atlas_core.plan.notes import study_notes
from atlas_core.plan.resolve import Resolver
from atlas_core.results.current import open_results
from atlas_core.results.database import query
from atlas_core.results.rendering import table
from atlas_core.store import Store
from tests.studies.test_dataset_identity import draw
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path / "home", images=2)


def notes(world: TinyWorld, **fields: Any) -> list[str]:
    graph = build_graph(world.study(**fields), world.placement)
    states = Resolver(graph, Store(world.placement.store_path)).states()
    return study_notes(graph, states, known_datasets(graph, states, world.placement), world.placement)


def ask(world: TinyWorld, sql: str) -> list[dict[str, Any]]:
    return query(open_results(Store(world.placement.store_path)), sql).to_pylist()


@pytest.mark.parametrize(
    ("classes", "said"), [(2, "1 base class and 1 new class"), (3, "1 new class"), (4, None)]
)
def test_one_class_on_a_side_of_base_to_new(world: TinyWorld, classes: int, said: str | None) -> None:
    names = ("robin", "wren", "crane", "kite")[:classes]
    study: dict[str, Any] = {"datasets": [draw(world.home / "birds", names)], "supervisions": ["one_hot"]}
    found = notes(world, **study)
    assert found == ([] if said is None else [found[0]])
    assert said is None or f"birds has {classes} classes, so {said}" in found[0]
    world.run(**study)
    reasons = {row["degenerate"] for row in ask(world, "FROM base_to_new WHERE dataset = 'birds'")}
    assert reasons == {said and said.replace(" and ", "; ")}
    assert bool(ask(world, "FROM base_to_new WHERE dataset = 'average'")) == (said is None)
    printed = table("base-to-new", open_results(Store(world.placement.store_path)))
    assert ("‡ says nothing and is in no average: birds" in printed) == (said is not None)


def test_more_shots_than_images(world: TinyWorld) -> None:
    few = draw(world.home / "few", ("robin", "wren"), images=8)  # 4 of them to train on
    many = draw(world.home / "many", ("robin", "wren"), images=40, seed=1)
    study: dict[str, Any] = {
        "protocol": "few_shot", "datasets": [few, many], "shots": [2, 8], "supervisions": ["one_hot"],
    }  # fmt: skip
    assert [line.partition(":")[0] for line in notes(world, **study)] == [
        "few has 4 training images of 'robin', fewer than 8 shots"
    ]
    world.run(**study)
    found = ask(world, "SELECT dataset, shots, degenerate, n_datasets FROM few_shot ORDER BY shots, dataset")
    assert [tuple(row.values()) for row in found] == [
        ("average", 2, None, 2),
        ("few", 2, None, 1),
        ("many", 2, None, 1),
        ("average", 8, None, 1),
        ("few", 8, "8 shots, 4 images of the smallest class", 1),
        ("many", 8, None, 1),
    ]


def test_zero_shot_at_chance(world: TinyWorld) -> None:
    # Noise under a random CLIP: nothing can be recognised.
    noise = draw(world.home / "noise", ("robin", "wren", "kite"), images=40)
    study: dict[str, Any] = {"protocol": "few_shot", "datasets": [noise], "methods": ["zero_shot", "coop"]}
    study |= {"supervisions": ["one_hot"]}
    assert notes(world, **study) == []
    world.run(**study)
    (line,) = notes(world, **study)
    assert "on noise/all, no better than guessing among 3 classes" in line
    rows = ask(world, "FROM few_shot")
    assert {row["degenerate"] for row in rows} == {"zero-shot at chance"}
    assert {row["method"] for row in rows} == {"zero_shot", "coop"}
    assert "average" not in {row["dataset"] for row in rows}
    # Without an average the table shows the dataset.
    printed = table("few-shot", open_results(Store(world.placement.store_path)))
    assert "noise" in printed
    assert "‡" in printed


def test_comparisons_leave_out_what_says_nothing(world: TinyWorld) -> None:
    two = draw(world.home / "two", ("robin", "wren"))
    four = draw(world.home / "four", ("robin", "wren", "crane", "kite"), seed=1)
    world.run(datasets=[two, four], supervisions=["one_hot", "ls"])
    found = ask(world, "SELECT dataset, n_datasets FROM supervision_comparison ORDER BY dataset")
    assert [tuple(row.values()) for row in found] == [("average", 1), ("four", 1), ("two", 1)]
    printed = table("statistics", open_results(Store(world.placement.store_path)), full=True)
    assert "four" in printed
    assert "two" not in printed

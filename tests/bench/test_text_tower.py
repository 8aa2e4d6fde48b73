"""What the text tower's benchmark says is what the towers do."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from atlas_core.backbone.text import extract_text_tower
from atlas_core.bench.clocks import one_thread
from atlas_core.bench.text_tower import FLOWERS, LAND_USE, BenchTower, Task, compare
from tests.small_clip import small_open_clip


def small_bench() -> BenchTower:
    model = small_open_clip(3)
    return BenchTower(model, extract_text_tower(model, torch.float32, torch.device("cpu")))


def test_both_towers_give_the_same_gradient_and_the_row_has_the_ratio() -> None:
    row = compare(small_bench(), LAND_USE, n_ctx=4, goal=12.0, rounds=1)
    assert row["gradient_difference"] < 1e-4  # type: ignore[operator]
    assert row["ratio"] == row["baseline_seconds"] / row["ours_seconds"]  # type: ignore[operator]
    assert row["plain_tokens"] == 770
    assert row["tokens"] == 5 + 44


def test_the_arithmetic_is_what_the_linears_of_the_fast_tower_execute() -> None:
    bench = small_bench()
    task = Task.of(bench, FLOWERS, 4)
    with FlopCounterMode(display=False) as counted:
        task.fast(bench)
    by_kind = {str(kind): count for kind, count in counted.get_flop_counts()["Global"].items()}
    linears = by_kind["aten.mm"] + by_kind["aten.addmm"]
    projection = 2 * 2 * len(FLOWERS) * bench.tower.width * 24
    assert linears - projection == task.arithmetic(bench.tower)


def test_class_names_are_as_many_as_the_rows_say() -> None:
    assert len(set(FLOWERS)) == 50
    assert len(set(LAND_USE)) == 10


def test_one_thread_is_given_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before

"""`atlas bench`: rows of any benchmark in one table, kept in a history, written as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from atlas_core.bench import collect
from atlas_core.bench.collect import Measurement, benchmarks, measure, measurement
from atlas_core.bench.history import Machine, read_history, this_machine, write_history
from atlas_core.bench.tables import cells, markdown, readable
from atlas_core.cli import app
from atlas_core.errors import AtlasError

MACHINE = Machine("A CPU", 2, 0.5, "", "3.11.0", "2.4.0", "0.1.0")


def fake_benchmark(taken: list[int]) -> ModuleType:
    def rows(repeats: int = 5) -> Iterator[dict[str, Any]]:
        taken.append(repeats)
        yield {
            "name": "a step",
            "ours_seconds": 0.5,
            "baseline_seconds": 20.0,
            "baseline": "published",
            "goal": 8,
        }

    module = ModuleType("fake", "Steps of a fake method.\n\nMore.")
    module.rows = rows  # type: ignore[attr-defined]
    return module


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    taken: list[int] = []
    monkeypatch.setattr(collect, "benchmarks", lambda: {"fake": fake_benchmark(taken)})
    return taken


def test_the_benchmarks_are_the_modules_with_rows() -> None:
    assert {"evaluation", "features", "stacked_runs", "training_step"} <= set(benchmarks())
    assert "collect" not in benchmarks()


def test_the_ratio_follows_from_the_times_unless_the_row_gives_it() -> None:
    assert measurement("b", {"name": "n", "ours_seconds": 2.0, "baseline_seconds": 10.0}).ratio == 5.0
    given = {"name": "n", "ours_seconds": 2.0, "baseline_seconds": 10.0, "ratio": 4.0}
    assert measurement("b", given).ratio == 4.0


def test_a_row_of_elapsed_times_keeps_its_cpu_seconds_apart_and_the_rest_as_details() -> None:
    row = measurement("b", {"name": "n", "seconds": 2.0, "processor_seconds": 3.0, "images": 7})
    assert (row.ours_seconds, row.cpu_seconds, row.clock) == (2.0, 3.0, "wall")
    assert row.details == {"images": 7}
    assert cells(row)[1] == "2 s"
    assert cells(row)[5] == "3 s"


def test_a_quick_run_asks_for_one_repetition(fake: list[int]) -> None:
    module = fake_benchmark(fake)
    for quick in (False, True):
        list(measure("fake", module.rows, quick))
    assert fake == [5, 1]


def test_every_run_is_added_to_the_history(tmp_path: Path) -> None:
    for seconds in (1.0, 2.0):
        write_history(tmp_path / "bench", [Measurement("b", "n", seconds, details={"k": 1})], MACHINE)
    table = read_history(tmp_path / "bench")
    assert sorted(table["ours_seconds"].to_pylist()) == [1.0, 2.0]
    assert set(table["cpu"].to_pylist()) == {"A CPU"}
    assert table["details"].to_pylist() == ['{"k": 1}'] * 2
    assert not list((tmp_path / "bench").glob("*.partial"))


def test_no_history_is_an_empty_table(tmp_path: Path) -> None:
    assert read_history(tmp_path).num_rows == 0


def test_markdown_names_the_machine_and_has_a_line_a_measurement() -> None:
    text = markdown([Measurement("b", "a | b", 0.004, "plain", 1.0, 250.0, 40.0)], MACHINE, {"b": "Why."})
    assert "A CPU, 2 cores, no GPU" in text
    assert r"| a \| b | 4 ms | 1 s (plain) | 250× | ≥ 40× | 4 ms | · |" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.34, "12.3 s"), (0.5, "500 ms"), (2e-5, "20 µs"), (None, "·")]
)
def test_times_are_shown_in_a_unit_that_suits_them(seconds: float | None, text: str) -> None:
    assert readable(seconds) == text


def test_this_machine_says_what_it_is() -> None:
    machine = this_machine()
    assert machine.cpu
    assert machine.cores >= 1


def test_the_command_measures_writes_and_remembers(tmp_path: Path, fake: list[int]) -> None:
    file = tmp_path / "tables" / "bench.md"
    result = CliRunner().invoke(app, ["bench", "--quick", "--home", str(tmp_path), "--markdown", str(file)])
    assert result.exit_code == 0, result.output
    assert fake == [1]
    assert "40×" in result.output
    assert "Steps of a fake method." in file.read_text()
    (row,) = read_history(tmp_path / "bench").to_pylist()
    assert (row["benchmark"], row["ratio"], row["goal"]) == ("fake", 40.0, 8.0)


def test_an_unknown_benchmark_is_refused_before_anything_is_measured(tmp_path: Path, fake: list[int]) -> None:
    result = CliRunner().invoke(app, ["bench", "fakes", "--home", str(tmp_path)])
    assert isinstance(result.exception, AtlasError)
    assert "fake" in str(result.exception)
    assert fake == []

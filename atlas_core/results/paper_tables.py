"""One function a table of the paper: reads its view, fills the blocks of a `ResultTable`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import duckdb

from atlas_core.results.arms import arm_of, arm_settings, row_rank
from atlas_core.results.database import query
from atlas_core.results.tables import (
    DELTA_NOTE,
    RANK_NOTE,
    STD_NOTE,
    Block,
    Builder,
    Cell,
    Entry,
    ResultTable,
    baselines_of,
    build_block,
    degenerate_notes,
    labels_of,
    marks_of,
    notes_of,
)

AVERAGE = "average"
ARM_LABELS = ("method", "supervision", "setting")
_MEASURES = (("base", "base"), ("new", "new"), ("h", "H"))

ViewRow = dict[str, Any]


def base_to_new_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Accuracy on base and new classes and H: the average, then each dataset (`full`) or each dataset's H."""
    rows = _rows(con, "base_to_new")
    labels, baselines = labels_of(rows), baselines_of(rows)
    datasets = _names(rows, "dataset")
    most = max((row["n_datasets"] for row in rows), default=0)

    def block(dataset: str, title: str) -> Block:
        entries = [
            Entry(arm_of(row), baselines[arm_of(row)], heading, _cell(row, column, most))
            for row in rows
            if row["dataset"] == dataset
            for column, heading in _MEASURES
        ]
        return build_block(title, entries, [heading for _, heading in _MEASURES], labels)

    blocks = _average(block, most)
    if full or not blocks:
        blocks += [block(dataset, dataset) for dataset in datasets]
    elif datasets:
        entries = [
            Entry(arm_of(row), baselines[arm_of(row)], row["dataset"], _cell(row, "h"))
            for row in rows
            if row["dataset"] != AVERAGE
        ]
        blocks.append(build_block("H by dataset", entries, datasets, labels, spread=False, deltas=False))
    return _table("base-to-new", "Base-to-new generalization, accuracy in percent", blocks, rows)


def cross_dataset_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Trained on one dataset, tested on the others."""
    title = "Cross-dataset transfer, accuracy in percent"
    return _transfer_table(con, "cross_dataset", "cross-dataset", title, full)


def domain_generalization_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Trained on one dataset, tested on shifted versions of it."""
    title = "Domain generalization, accuracy in percent"
    return _transfer_table(con, "domain_generalization", "domain-generalization", title, full)


def few_shot_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Accuracy on all classes by number of shots: the average, and with `full` each dataset."""
    rows = _rows(con, "few_shot")
    labels, baselines = labels_of(rows, ("shots",)), baselines_of(rows, ("shots",))
    shots = sorted({row["shots"] for row in rows})
    most = max((row["n_datasets"] for row in rows), default=0)

    def block(dataset: str, title: str) -> Block:
        entries = [
            Entry(
                arm_of(row, ("shots",)),
                baselines[arm_of(row, ("shots",))],
                _count(row["shots"], "shot"),
                _cell(row, "accuracy", most),
            )
            for row in rows
            if row["dataset"] == dataset
        ]
        return build_block(title, entries, [_count(each, "shot") for each in shots], labels)

    blocks = _average(block, most)
    if full or not blocks:
        blocks += [block(dataset, dataset) for dataset in _names(rows, "dataset")]
    return _table("few-shot", "Few-shot classification, accuracy in percent", blocks, rows)


def supervision_comparison_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Every supervision against one-hot training of the same method, over the seeds that both have."""
    compared = _rows(con, "supervision_comparison")
    one_hot = [row for row in _rows(con, "base_to_new") if row["supervision"] == "one_hot"]
    rows = sorted([*one_hot, *compared], key=row_rank)
    labels, baselines = labels_of(rows), baselines_of(rows)
    datasets = _names(rows, "dataset")
    most = max((row["n_datasets"] for row in rows), default=0)

    def entry(row: ViewRow, column: str, heading: str) -> Entry:
        cell = _cell(row, column, most if row["dataset"] == AVERAGE else 1)
        paired = Cell(cell.value, cell.std, row.get(f"delta_{column}"), marks=cell.marks)
        return Entry(arm_of(row), baselines[arm_of(row)], heading, paired)

    def block(dataset: str, title: str) -> Block:
        chosen = [row for row in rows if row["dataset"] == dataset]
        entries = [entry(row, column, heading) for row in chosen for column, heading in _MEASURES]
        return build_block(title, entries, [heading for _, heading in _MEASURES], labels, spread=False)

    blocks = _average(block, most)
    if full or not blocks:
        blocks += [block(dataset, dataset) for dataset in datasets]
    elif datasets:
        entries = [entry(row, "new", row["dataset"]) for row in rows if row["dataset"] != AVERAGE]
        blocks.append(
            build_block("Accuracy on new classes by dataset", entries, datasets, labels, spread=False)
        )
    title = "Supervision against one-hot, accuracy in percent"
    return _table("supervision-comparison", title, blocks, rows)


def ablation_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Average base, new and H along K, epsilon and the temperature; with `full` each dataset too."""
    rows = query(con, "SELECT * FROM ablation").to_pylist()
    headings = {"period": "K", "mix": "ε", "temperature": "temperature"}
    blocks = []
    for factor, heading in headings.items():
        for dataset in [AVERAGE, *(_names(rows, "dataset") if full else ())]:
            chosen = [row for row in rows if row["factor"] == factor and row["dataset"] == dataset]
            if chosen:
                blocks.append(_ablation_block(f"{heading} ({dataset})", factor, chosen))
    labels = ("method", "labels", "fixed", "level")
    return ResultTable("ablation", "Ablation, accuracy in percent", labels, tuple(blocks), (RANK_NOTE,))


def _ablation_block(title: str, factor: str, rows: list[ViewRow]) -> Block:
    """Along K the ends are other supervisions (the source alone, one-hot), so its rows go by their source."""
    if factor == "period":
        rows = [{**row, "supervision": row["source"]} for row in rows]
    left_out = (factor, "period") if factor == "period" else (factor,)
    settings = arm_settings(rows, left_out)

    fixed = dict.fromkeys(left_out)

    def place(row: ViewRow) -> tuple[Any, ...]:
        return (*row_rank({**row, **fixed}), -1.0 if row["value"] is None else row["value"])

    labels, entries = {}, []
    for number, row in enumerate(sorted(rows, key=place)):
        labels[number] = (
            row["method"],
            row["supervision"],
            settings[arm_of(row, left_out)],
            _value(row["value"]),
        )
        entries += [Entry(number, None, heading, Cell(row[column])) for column, heading in _MEASURES]
    headings = [heading for _, heading in _MEASURES]
    return build_block(title, entries, headings, labels, spread=False, deltas=False)


def _value(value: float | None) -> str:
    if value is None:
        return "default"
    return "∞" if math.isinf(value) else f"{value:g}"


def _transfer_table(
    con: duckdb.DuckDBPyConnection, view: str, name: str, title: str, full: bool
) -> ResultTable:
    rows = _rows(con, view)
    labels, baselines = labels_of(rows), baselines_of(rows)
    blocks = []
    for source in sorted({row["dataset"] for row in rows}):
        chosen = [row for row in rows if row["dataset"] == source]
        targets = [each for each in _names(chosen, "target") if each != source]
        most = max(row["n_targets"] for row in chosen)
        headings = {source: f"{source} (trained)", AVERAGE: AVERAGE}
        entries = [
            Entry(
                arm_of(row),
                baselines[arm_of(row)],
                str(headings.get(row["target"], row["target"])),
                _cell(row, "accuracy", most if row["target"] == AVERAGE else 1, "n_targets"),
            )
            for row in chosen
        ]
        columns = [headings[source], *targets, *([AVERAGE] if targets else [])]
        # A terminal has room for the differences; the paper's full table shows the spread too.
        blocks.append(build_block(f"Trained on {source}", entries, columns, labels, spread=full))
    return _table(name, title, blocks, rows)


def _average(block: Callable[[str, str], Block], most: int) -> list[Block]:
    """The block of averages, if any: every dataset may be one that averages leave out."""
    average = block(AVERAGE, f"Average over {_count(most, 'dataset')}")
    return [average] if average.rows else []


def _table(name: str, title: str, blocks: list[Block], rows: list[ViewRow]) -> ResultTable:
    shown = [(block, cell) for block in blocks for row in block.rows for cell in row.cells]
    said = {
        STD_NOTE: any(block.spread and cell.std is not None for block, cell in shown),
        DELTA_NOTE: any(block.deltas and cell.delta is not None for block, cell in shown),
        RANK_NOTE: any(cell.place for _, cell in shown),
    }
    notes = notes_of(blocks, *(note for note, needed in said.items() if needed), *degenerate_notes(rows))
    return ResultTable(name, title, ARM_LABELS, tuple(blocks), notes)


def _rows(con: duckdb.DuckDBPyConnection, view: str) -> list[ViewRow]:
    return sorted(query(con, f"SELECT * FROM {view}").to_pylist(), key=row_rank)


def _names(rows: list[ViewRow], column: str) -> list[str]:
    return sorted({row[column] for row in rows} - {AVERAGE})


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _cell(row: ViewRow, column: str, most: int = 1, covered: str = "n_datasets") -> Cell:
    average = row.get("target", row["dataset"]) == AVERAGE
    marks = marks_of(row, covered if average else "", most)
    spread = row.get(f"{column}_std") if row["n_seeds"] > 1 else None
    return Cell(row[column], spread, marks=marks)


BUILDERS: dict[str, Builder] = {
    "base-to-new": base_to_new_table,
    "cross-dataset": cross_dataset_table,
    "domain-generalization": domain_generalization_table,
    "few-shot": few_shot_table,
    "supervision-comparison": supervision_comparison_table,
    "ablation": ablation_table,
}

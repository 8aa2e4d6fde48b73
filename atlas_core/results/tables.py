"""The paper's tables as data: rows (method, supervision) with value, spread, rank and difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from atlas_core.errors import AtlasError
from atlas_core.registry import unknown_name
from atlas_core.results.arms import arm_of, arm_settings, row_rank
from atlas_core.results.database import query

# Numbers are compared as they are printed: what looks equal ranks equal.
DECIMALS = 2
STD_NOTE = "± is the standard deviation over seeds with ddof 0, as the field prints it"
DELTA_NOTE = "differences in brackets are against one_hot training of the same method"
RANK_NOTE = "best in bold, second best underlined"
COLLAPSED_NOTE = "† a collapsed run is among the seeds"
PARTIAL_NOTE = "* covers fewer datasets than others in the column"
DEGENERATE_MARK = "‡"
PROTOCOL_TITLES = {
    "base_to_new": "Base-to-new",
    "cross_dataset": "Cross-dataset",
    "domain_generalization": "Domain generalization",
    "few_shot": "Few-shot",
}


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        value: None where nothing was measured; an int is printed without decimals.
        std: Standard deviation over seeds, ddof 0.
        delta: Difference to the method's one_hot row; None for that row itself and where there is none.
        place: 1 for the best of the column, 2 for the second best, else 0.
        marks: Footnote signs.
        decimals: Digits after the point in print; csv and json are never rounded.
    """

    value: float | int | None = None
    std: float | None = None
    delta: float | None = None
    place: int = 0
    marks: str = ""
    decimals: int = DECIMALS


@dataclass(frozen=True)
class Row:
    """One arm: its labels (method, supervision, setting) and a cell for each column."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """Rows over the same columns: one dataset, an average, or one number over all datasets.

    Attributes:
        spread: Whether cells show their standard deviation.
        deltas: Whether cells show their difference to one_hot.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    spread: bool = True
    deltas: bool = True


@dataclass(frozen=True)
class ResultTable:
    """A table in the paper's shape; `rendering.render_table` writes it as text."""

    name: str
    title: str
    labels: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A number on its way into a block: where it belongs, and what it is."""

    arm: Any
    baseline: Any
    column: str
    cell: Cell


def build_block(
    title: str,
    entries: Sequence[Entry],
    columns: Sequence[str],
    labels: Mapping[Any, tuple[str, ...]],
    *,
    rank: bool = True,
    lowest: Collection[str] = (),
    spread: bool = True,
    deltas: bool = True,
) -> Block:
    """Pivot entries into rows in the order of `labels` (arm -> labels); arms without numbers are left out.

    `lowest` names the columns in which the smallest number is the best. `Entry.baseline` names the arm that
    the difference is taken against; a cell that has one already keeps it.
    """
    cells = {(entry.arm, entry.column): entry.cell for entry in entries}
    baselines = {entry.arm: entry.baseline for entry in entries}
    present = [arm for arm in labels if arm in baselines]
    rows = [
        [
            _with_delta(
                cells.get((arm, column), Cell()), cells.get((baselines[arm], column)), arm == baselines[arm]
            )
            for column in columns
        ]
        for arm in present
    ]
    if rank:
        rows = _ranked(rows, [-1 if column in lowest else 1 for column in columns])
    return Block(
        title,
        tuple(columns),
        tuple(Row(labels[arm], tuple(row)) for arm, row in zip(present, rows, strict=True)),
        spread,
        deltas,
    )


def _with_delta(cell: Cell, baseline: Cell | None, is_baseline: bool) -> Cell:
    if (
        cell.delta is not None
        or is_baseline
        or baseline is None
        or cell.value is None
        or baseline.value is None
    ):
        return cell
    return replace(cell, delta=cell.value - baseline.value)


def _ranked(rows: list[list[Cell]], signs: Sequence[int]) -> list[list[Cell]]:
    """Rows with the place of every cell in its column; `signs` is -1 for a column whose smallest is best."""
    ranked = []
    places = [_places([row[k].value for row in rows], signs[k]) for k in range(len(rows[0]) if rows else 0)]
    for number, row in enumerate(rows):
        ranked.append([replace(cell, place=places[k][number]) for k, cell in enumerate(row)])
    return ranked


def _places(values: Sequence[float | None], sign: int) -> list[int]:
    """1 for the best printed number, 2 for the next, else 0; nothing is ranked among fewer than two."""
    printed = [
        None if value is None or math.isnan(value) else sign * round(value, DECIMALS) for value in values
    ]
    best = sorted({value for value in printed if value is not None}, reverse=True)[:2]
    if sum(value is not None for value in printed) < 2:
        return [0] * len(values)
    return [0 if value is None or value not in best else best.index(value) + 1 for value in printed]


def labels_of(rows: Iterable[Mapping[str, Any]], leave_out: Sequence[str] = ()) -> dict[Any, tuple[str, ...]]:
    """Arms in table order with their labels (method, supervision, setting)."""
    ordered = sorted(rows, key=row_rank)
    settings = arm_settings(ordered, leave_out)
    return {
        arm_of(row, leave_out): (row["method"], row["supervision"], settings[arm_of(row, leave_out)])
        for row in ordered
    }


def baselines_of(rows: Iterable[Mapping[str, Any]], leave_out: Sequence[str] = ()) -> dict[Any, Any]:
    """Arm -> the one_hot arm of the same method, shots, backbone and variant (itself for that arm)."""
    rows = list(rows)
    sides = ("method", *(name for name in ("shots", "backbone", "variant") if name not in leave_out))
    one_hot = {
        tuple(row[name] for name in sides): arm_of(row, leave_out)
        for row in rows
        if row["supervision"] == "one_hot"
    }
    return {arm_of(row, leave_out): one_hot.get(tuple(row[name] for name in sides)) for row in rows}


def marks_of(row: Mapping[str, Any], covered: str = "", most: int = 0) -> str:
    """Footnote signs of a row of a view; `covered` is its column of how many datasets an average covers."""
    partial = "*" if covered and row[covered] < most else ""
    return (
        partial + ("†" if row.get("n_collapsed") else "") + (DEGENERATE_MARK if row.get("degenerate") else "")
    )


def degenerate_notes(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """A line that says which datasets are in no average, and why; none where all are."""
    because: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.get("degenerate"):
            because.setdefault(row.get("target", row["dataset"]), {})[row["degenerate"]] = None
    if not because:
        return ()
    datasets = (f"{dataset} ({', '.join(reasons)})" for dataset, reasons in sorted(because.items()))
    return (f"{DEGENERATE_MARK} says nothing and is in no average: {'; '.join(datasets)}",)


def notes_of(blocks: Iterable[Block], *always: str) -> tuple[str, ...]:
    """The notes that a table needs: those given and those of the signs that occur."""
    marks = {mark for block in blocks for row in block.rows for cell in row.cells for mark in cell.marks}
    found = [note for note in (PARTIAL_NOTE, COLLAPSED_NOTE) if note[0] in marks]
    return (*always, *found)


Builder = Callable[..., ResultTable]


def table_names() -> list[str]:
    """Names that `build_table` knows."""
    return list(_builders())


def build_table(con: duckdb.DuckDBPyConnection, name: str, *, full: bool = False) -> ResultTable:
    """The table of that name ("base-to-new", "few-shot", ...).

    Args:
        full: One block a dataset, as in the paper, in place of a summary that fits a terminal.

    Raises:
        AtlasError: No such table (with suggestions), or no result that it could show.
    """
    builders = _builders()
    if name not in builders:
        raise unknown_name("table", name, builders)
    table = builders[name](con, full=full)
    if not any(block.rows for block in table.blocks):
        raise AtlasError(
            f"no results for the table {name!r}",
            expected=f"runs of its protocol; there are runs of {_protocols(con)}",
            fix="run a study of that protocol first: `atlas run STUDY`",
        )
    return replace(table, notes=(*table.notes, *_stand_in_notes(con, table)))


def _stand_in_notes(con: duckdb.DuckDBPyConnection, table: ResultTable) -> list[str]:
    """What the table's methods have in place of something that their authors had."""
    rows = query(
        con,
        "SELECT DISTINCT method, stand_in FROM runs WHERE stand_in IS NOT NULL ORDER BY method, stand_in",
    )
    shown = {label for block in table.blocks for row in block.rows for label in row.labels}
    return [f"{row['method']}: {row['stand_in']}" for row in rows.to_pylist() if row["method"] in shown]


def _protocols(con: duckdb.DuckDBPyConnection) -> str:
    rows = query(con, "SELECT DISTINCT protocol FROM runs ORDER BY protocol").to_pylist()
    return ", ".join(row["protocol"] for row in rows) or "none at all"


def _builders() -> dict[str, Builder]:
    from atlas_core.results import paper_tables, statistics_table, summary_tables  # they build on this module

    return {**paper_tables.BUILDERS, **statistics_table.BUILDERS, **summary_tables.BUILDERS}

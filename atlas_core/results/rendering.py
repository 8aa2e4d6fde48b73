"""Tables as text: terminal, Markdown, LaTeX, CSV, JSON; and plain query answers in the same formats."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import duckdb
import pyarrow as pa
from rich.table import Table
from rich.text import Text

from atlas_core.registry import unknown_name
from atlas_core.results.formatting import number, suffix, used_labels
from atlas_core.results.latex import latex
from atlas_core.results.tables import Block, Cell, ResultTable, build_table
from atlas_core.results.terminal import printed, terminal
from atlas_core.shown import csv_text, shown, shown_in_markdown, shown_in_markup

QueryFormat = Literal["table", "csv", "markdown", "json"]
TableFormat = Literal["table", "markdown", "latex", "csv", "json"]


def render(
    answer: pa.Table, format: QueryFormat = "table", *, width: int | None = None, spreadsheet: bool = False
) -> str:
    """A query's answer as text.

    Args:
        width: Columns of the terminal for `table`; as wide as needed where None.
        spreadsheet: Write `csv` so that no spreadsheet takes a cell for a formula.

    Raises:
        AtlasError: No such format.
    """
    if format not in get_args(QueryFormat):
        raise unknown_name("format", format, get_args(QueryFormat))
    names, rows = (
        answer.column_names,
        list(zip(*(column.to_pylist() for column in answer.columns), strict=True)),
    )
    if format == "csv":
        cells = [["" if value is None else _csv_value(value) for value in row] for row in rows]
        return csv_text([names, *cells], spreadsheet=spreadsheet)
    if format == "json":
        records = [{name: _json_value(value) for name, value in zip(names, row, strict=True)} for row in rows]
        return json.dumps(records, indent=2, default=str, ensure_ascii=False)
    texts = [[_readable(value) for value in row] for row in rows]
    numeric = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in answer.schema.types]
    if format == "markdown":
        return _markdown_grid(names, texts, numeric)
    table = Table(show_edge=False, pad_edge=False)
    for name, right in zip(names, numeric, strict=True):
        table.add_column(shown_in_markup(name), justify="right" if right else "left", overflow="fold")
    for row in texts:
        table.add_row(*[shown_in_markup(text) for text in row])
    return printed([table, Text(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", style="dim")], width)


def table(
    name: str,
    con: duckdb.DuckDBPyConnection,
    format: TableFormat = "table",
    *,
    full: bool = False,
    width: int | None = None,
    spreadsheet: bool = False,
) -> str:
    """A table of the paper by its name, as text.

    Args:
        full: One block a dataset, as in the paper, in place of a summary that fits a terminal.
        width: Columns of the terminal for `table`; as wide as needed where None.
        spreadsheet: Write `csv` so that no spreadsheet takes a cell for a formula.

    Raises:
        AtlasError: No such table or format, or no result that the table could show.
    """
    if format not in get_args(TableFormat):
        raise unknown_name("format", format, get_args(TableFormat))
    return render_table(build_table(con, name, full=full), format, width=width, spreadsheet=spreadsheet)


def render_table(
    table: ResultTable,
    format: TableFormat = "table",
    *,
    width: int | None = None,
    spreadsheet: bool = False,
) -> str:
    """A table of the paper as text.

    `csv` and `json` are long: one record a number, with `block`, the labels, `column`, `value`, `std`,
    `delta` and `place` (1 best, 2 second best, 0 others), unrounded.

    Raises:
        AtlasError: No such format.
    """
    writers: dict[str, Callable[[], str]] = {
        "table": lambda: terminal(table, width),
        "markdown": lambda: _markdown(table),
        "latex": lambda: latex(table),
        "csv": lambda: _long_csv(table, spreadsheet),
        "json": lambda: json.dumps(table_records(table), indent=2, ensure_ascii=False),
    }
    if format not in writers:
        raise unknown_name("format", format, writers)
    return writers[format]()


def table_records(table: ResultTable) -> list[dict[str, Any]]:
    """One record a number, unrounded."""
    return [
        {
            "block": block.title,
            **dict(zip(table.labels, row.labels, strict=True)),
            "column": column,
            "value": _json_value(cell.value),
            "std": _json_value(cell.std),
            "delta": _json_value(cell.delta),
            "place": cell.place,
        }
        for block in table.blocks
        for row in block.rows
        for column, cell in zip(block.columns, row.cells, strict=True)
        if cell.value is not None
    ]


def artifact_records(table: ResultTable) -> list[dict[str, Any]]:
    """The records of a Prefect table artifact: as `table_records`, its texts as they may be shown."""
    return [
        {name: shown(value) if isinstance(value, str) else value for name, value in record.items()}
        for record in table_records(table)
    ]


def artifact_description(text: str) -> str:
    """A description that Prefect shows as Markdown."""
    return shown_in_markdown(text)


def _markdown(table: ResultTable) -> str:
    lines = [f"**{_label(table.title)}**"]
    for block in table.blocks:
        used = used_labels(block)
        names = [*(_label(table.labels[k]) for k in used), *map(_label, block.columns)]
        texts = [
            [*(_label(row.labels[k]) for k in used), *(_markdown_cell(cell, block) for cell in row.cells)]
            for row in block.rows
        ]
        numeric = [False] * len(used) + [True] * len(block.columns)
        lines += ["", f"### {_label(block.title)}", "", _markdown_grid(names, texts, numeric, escaped=True)]
    return "\n".join([*lines, "", *(f"- {_label(note)}" for note in table.notes)]).rstrip() + "\n"


def _label(text: str) -> str:
    # Names such as atlas_csl are read better without backslashes; HTML and a second line are what matters.
    return shown(text).replace("<", "&lt;").replace("|", r"\|")


def _markdown_cell(cell: Cell, block: Block) -> str:
    text = number(cell.value, cell.decimals)
    text = (text, f"**{text}**", f"<u>{text}</u>")[cell.place] + cell.marks.replace("*", r"\*")
    return text + suffix(cell, block)


def _markdown_grid(
    names: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], *, escaped: bool = False
) -> str:
    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(texts) + " |"

    marks = ["---:" if right else "---" for right in numeric]
    if not escaped:
        names, rows = (
            [shown_in_markdown(name) for name in names],
            [list(map(shown_in_markdown, row)) for row in rows],
        )
    return "\n".join([line(names), line(marks), *(line(row) for row in rows)])


def _long_csv(table: ResultTable, spreadsheet: bool) -> str:
    records = table_records(table)
    names = ["block", *table.labels, "column", "value", "std", "delta", "place"]
    cells = [["" if record[name] is None else record[name] for name in names] for record in records]
    return csv_text([names, *cells], spreadsheet=spreadsheet)


def _readable(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else _plain(value)


def _plain(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)


def _csv_value(value: Any) -> Any:
    """A number as it is (its minus sign is no formula), anything else as text."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _plain(value)


def _json_value(value: Any) -> Any:
    # JSON has no NaN or infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value

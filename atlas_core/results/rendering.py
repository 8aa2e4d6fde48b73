"""Tables as text: terminal, Markdown, LaTeX, CSV, JSON; and plain query answers in the same formats."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from atlas_core.registry import unknown_name
from atlas_core.results.tables import DECIMALS, Block, Cell, ResultTable, Row

QueryFormat = Literal["table", "csv", "markdown", "json"]
TableFormat = Literal["table", "markdown", "latex", "csv", "json"]


def render(answer: pa.Table, format: QueryFormat = "table", *, width: int | None = None) -> str:
    """A query's answer as text.

    Args:
        width: Columns of the terminal for `table`; as wide as needed where None.

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
        return _csv(names, [["" if value is None else _plain(value) for value in row] for row in rows])
    if format == "json":
        records = [{name: _json_value(value) for name, value in zip(names, row, strict=True)} for row in rows]
        return json.dumps(records, indent=2, default=str, ensure_ascii=False)
    texts = [[_readable(value) for value in row] for row in rows]
    numeric = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in answer.schema.types]
    if format == "markdown":
        return _markdown_grid(names, texts, numeric)
    table = Table(show_edge=False, pad_edge=False)
    for name, number in zip(names, numeric, strict=True):
        table.add_column(escape(name), justify="right" if number else "left", overflow="fold")
    for row in texts:
        table.add_row(*[escape(text) for text in row])
    return _printed([table, Text(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", style="dim")], width)


def render_table(table: ResultTable, format: TableFormat = "table", *, width: int | None = None) -> str:
    """A table of the paper as text.

    `csv` and `json` are long: one record a number, with `block`, the labels, `column`, `value`, `std`,
    `delta` and `place` (1 best, 2 second best, 0 others), unrounded.

    Raises:
        AtlasError: No such format.
    """
    writers: dict[str, Callable[[], str]] = {
        "table": lambda: _terminal(table, width),
        "markdown": lambda: _markdown(table),
        "latex": lambda: _latex(table),
        "csv": lambda: _long_csv(table),
        "json": lambda: json.dumps(table_records(table), indent=2, ensure_ascii=False),
    }
    if format not in writers:
        raise unknown_name("format", format, writers)
    return writers[format]()


def table_records(table: ResultTable) -> list[dict[str, Any]]:
    """One record a number, unrounded; also the shape of a Prefect table artifact."""
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


def _terminal(table: ResultTable, width: int | None) -> str:
    parts: list[Any] = [Text(table.title, style="bold")]
    for block in table.blocks:
        used = _used_labels(block)
        grid = Table(title=escape(block.title), title_justify="left", title_style="italic", show_edge=False,
                     pad_edge=False)  # fmt: skip
        for k in used:
            grid.add_column(table.labels[k], overflow="fold")
        for column in block.columns:
            grid.add_column(escape(column), justify="right", no_wrap=True)
        for row, opens in _grouped(block):
            if opens:
                grid.add_section()
            grid.add_row(
                *[escape(row.labels[k]) for k in used], *[_rich_cell(cell, block) for cell in row.cells]
            )
        parts += [Text(""), grid]
    parts += [Text(""), *[Text(note, style="dim") for note in table.notes]]
    return _printed(parts, width)


def _rich_cell(cell: Cell, block: Block) -> Text:
    text = Text(_number(cell.value) + cell.marks, style=("", "bold", "underline")[cell.place])
    if block.spread and cell.std is not None:
        text.append(f" ±{_number(cell.std)}", style="not bold not underline dim")
    if block.deltas and cell.delta is not None:
        colour = "green" if cell.delta > 0 else "red"
        text.append(f" ({_signed(cell.delta)})", style=f"not bold not underline {colour}")
    return text


def _markdown(table: ResultTable) -> str:
    lines = [f"**{table.title}**"]
    for block in table.blocks:
        used = _used_labels(block)
        names = [*(table.labels[k] for k in used), *block.columns]
        texts = [
            [*(row.labels[k] for k in used), *(_markdown_cell(cell, block) for cell in row.cells)]
            for row in block.rows
        ]
        numeric = [False] * len(used) + [True] * len(block.columns)
        lines += ["", f"### {block.title}", "", _markdown_grid(names, texts, numeric, escaped=True)]
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]).rstrip() + "\n"


def _markdown_cell(cell: Cell, block: Block) -> str:
    text = _number(cell.value)
    text = (text, f"**{text}**", f"<u>{text}</u>")[cell.place] + cell.marks.replace("*", r"\*")
    return text + _suffix(cell, block)


def _markdown_grid(
    names: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], *, escaped: bool = False
) -> str:
    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", r"\|").replace("\n", " ") for text in texts) + " |"

    marks = ["---:" if number else "---" for number in numeric]
    cells = (
        rows if escaped else [[text.replace("*", r"\*").replace("_", r"\_") for text in row] for row in rows]
    )
    return "\n".join([line(names), line(marks), *(line(row) for row in cells)])


def _latex(table: ResultTable) -> str:
    """One `table*` with a booktabs tabular a block; needs \\usepackage{booktabs}."""
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table*}[t]", r"\centering", r"\small"]
    lines.append(rf"\caption{{{_tex(table.title)}. {_tex('; '.join(table.notes))}.}}")
    lines.append(rf"\label{{tab:{table.name}}}")
    for block in table.blocks:
        used = _used_labels(block)
        lines += [
            "",
            rf"\textit{{{_tex(block.title)}}}\\[2pt]",
            rf"\begin{{tabular}}{{{'l' * len(used)}{'r' * len(block.columns)}}}",
            r"\toprule",
            " & ".join(_tex(name) for name in [*(table.labels[k] for k in used), *block.columns]) + r" \\",
            r"\midrule",
        ]
        for row, opens in _grouped(block):
            if opens:
                lines.append(r"\midrule")
            cells = [*(_tex(row.labels[k]) for k in used), *(_tex_cell(cell, block) for cell in row.cells)]
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}\\[6pt]"]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _tex_cell(cell: Cell, block: Block) -> str:
    text = _number(cell.value).replace("–", "--")
    text = (text, rf"\textbf{{{text}}}", rf"\underline{{{text}}}")[cell.place]
    text += cell.marks.replace("*", "$^*$").replace("†", r"$^\dagger$")
    if block.spread and cell.std is not None:
        text += rf" {{\scriptsize $\pm${_number(cell.std)}}}"
    if block.deltas and cell.delta is not None:
        text += rf" {{\scriptsize (${_signed(cell.delta).replace('−', '-')}$)}}"
    return text


def _tex(text: str) -> str:
    # The backslash goes first, or it would escape the escapes.
    for plain, escaped in (
        ("\\", r"\textbackslash "), ("&", r"\&"), ("%", r"\%"), ("$", r"\$"), ("#", r"\#"), ("_", r"\_"),
        ("{", r"\{"), ("}", r"\}"), ("~", r"\textasciitilde "), ("^", r"\textasciicircum "), ("±", r"$\pm$"),
        ("†", r"$^\dagger$"), ("*", "$^*$"), ("ε", r"$\epsilon$"), ("∞", r"$\infty$"),
    ):  # fmt: skip
        if plain == "\\" or plain not in "{}" or "\\textbackslash" not in text:
            text = text.replace(plain, escaped)
    return text


def _long_csv(table: ResultTable) -> str:
    records = table_records(table)
    names = ["block", *table.labels, "column", "value", "std", "delta", "place"]
    return _csv(
        names, [["" if record[name] is None else record[name] for name in names] for record in records]
    )


def _csv(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return out.getvalue()


def _grouped(block: Block) -> list[tuple[Row, bool]]:
    """Rows, and whether each opens a new group (another first label)."""
    pairs = zip([None, *block.rows], block.rows, strict=False)
    return [(row, before is not None and before.labels[0] != row.labels[0]) for before, row in pairs]


def _used_labels(block: Block) -> list[int]:
    """Label columns that say something in this block; the first always does."""
    width = len(block.rows[0].labels) if block.rows else 1
    return [k for k in range(width) if k == 0 or any(row.labels[k] for row in block.rows)]


def _suffix(cell: Cell, block: Block) -> str:
    spread = f" ±{_number(cell.std)}" if block.spread and cell.std is not None else ""
    return spread + (f" ({_signed(cell.delta)})" if block.deltas and cell.delta is not None else "")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return "nan" if math.isnan(value) else f"{value:.{DECIMALS}f}"


def _signed(value: float) -> str:
    text = f"{value:+.{DECIMALS}f}"
    return text.replace("-", "−")


def _readable(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else _plain(value)


def _plain(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)


def _json_value(value: Any) -> Any:
    # JSON has no NaN or infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _printed(parts: Sequence[Any], width: int | None) -> str:
    """What rich prints: plain text, with colours only where `width` says that a terminal will show it."""
    console = Console(
        file=io.StringIO(), width=width or 10_000, force_terminal=width is not None, highlight=False
    )
    for part in parts:
        console.print(part)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written.splitlines()) + "\n"

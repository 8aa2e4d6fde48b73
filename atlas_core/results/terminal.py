"""Tables for a terminal: rich, and never with a number cut off."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atlas_core.results.formatting import direction, grouped, number, signed, suffix, used_labels
from atlas_core.results.tables import Block, Cell, ResultTable
from atlas_core.shown import shown, shown_in_markup

_GUTTER = 3  # what separates two columns
_NARROWEST_LABEL = 10  # a label may fold, a number may not


def terminal(table: ResultTable, width: int | None) -> str:
    """The table as text; a block too wide for `width` columns goes on below with its labels repeated."""
    parts: list[Any] = [Text(shown(table.title), style="bold")]
    for block in table.blocks:
        for columns in _fitting(block, width):
            title = block.title if columns[0] == 0 else f"{block.title} (continued)"
            parts += [Text(""), _grid(table, block, title, columns)]
    parts += [Text(""), *[Text(shown(note), style="dim") for note in table.notes]]
    return printed(parts, width)


def printed(parts: Sequence[Any], width: int | None) -> str:
    """What rich prints: plain text, with colours only where `width` says that a terminal will show it."""
    console = Console(
        file=io.StringIO(), width=width or 10_000, force_terminal=width is not None, highlight=False
    )
    for part in parts:
        console.print(part)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written.splitlines()) + "\n"


def _grid(table: ResultTable, block: Block, title: str, columns: Sequence[int]) -> Table:
    used = used_labels(block)
    grid = Table(
        title=Text(shown(title)), title_justify="left", title_style="italic", show_edge=False, pad_edge=False
    )
    for k in used:
        grid.add_column(shown_in_markup(table.labels[k]), overflow="fold")
    for k in columns:
        grid.add_column(shown_in_markup(block.columns[k]), justify="right", no_wrap=True)
    for row, opens in grouped(block):
        if opens:
            grid.add_section()
        cells = [_rich_cell(row.cells[k], block) for k in columns]
        grid.add_row(*[shown_in_markup(row.labels[k]) for k in used], *cells)
    return grid


def _fitting(block: Block, width: int | None) -> Iterator[list[int]]:
    """Places of the columns that fit beside each other, group after group."""
    places = list(range(len(block.columns)))
    if width is None or not places:
        yield places or [0]
        return
    labels = [
        min(max(cell_len(shown(row.labels[k])) for row in block.rows), _NARROWEST_LABEL) + _GUTTER
        for k in used_labels(block)
        if block.rows
    ]
    room = width - sum(labels)
    chosen: list[int] = []
    taken = 0
    for place in places:
        needed = _column_width(block, place) + _GUTTER
        if chosen and taken + needed > room:
            yield chosen
            chosen, taken = [], 0
        chosen.append(place)
        taken += needed
    yield chosen


def _column_width(block: Block, place: int) -> int:
    written = [
        number(row.cells[place].value, row.cells[place].decimals)
        + row.cells[place].marks
        + suffix(row.cells[place], block)
        for row in block.rows
    ]
    return max(cell_len(text) for text in [shown(block.columns[place]), *written])


def _rich_cell(cell: Cell, block: Block) -> Text:
    text = Text()
    # The style belongs to the number, not to the cell: it would underline the blanks before it.
    text.append(number(cell.value, cell.decimals) + cell.marks, style=("", "bold", "underline")[cell.place])
    if block.spread and cell.std is not None:
        text.append(f" ±{number(cell.std)}", style="dim")
    if block.deltas and cell.delta is not None:
        colour = ("dim", "green", "red")[direction(cell.delta)]
        text.append(f" ({signed(cell.delta)})", style=colour)
    return text

"""How numbers of a table are written, whatever the format."""

from __future__ import annotations

import math

from atlas_core.results.tables import DECIMALS, Block, Cell, Row


def number(value: float | int | None, decimals: int = DECIMALS) -> str:
    """A number as printed: integers as they are, "–" for nothing."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return "nan" if math.isnan(value) else f"{value:.{decimals}f}".replace("-", "−")


def signed(value: float, decimals: int = DECIMALS) -> str:
    """A difference with its sign; none on what prints as zero."""
    text = f"{value:+.{decimals}f}".replace("-", "−")
    return text if direction(value, decimals) else text[1:]


def direction(value: float, decimals: int = DECIMALS) -> int:
    """1, 0 or -1: where a difference points once it is printed."""
    printed = round(value, decimals)
    return (printed > 0) - (printed < 0)


def suffix(cell: Cell, block: Block) -> str:
    """Spread and difference behind the number, where the block shows them."""
    spread = f" ±{number(cell.std)}" if block.spread and cell.std is not None else ""
    return spread + (f" ({signed(cell.delta)})" if block.deltas and cell.delta is not None else "")


def used_labels(block: Block) -> list[int]:
    """Label columns that say something in this block; the first always does."""
    width = len(block.rows[0].labels) if block.rows else 1
    return [k for k in range(width) if k == 0 or any(row.labels[k] for row in block.rows)]


def grouped(block: Block) -> list[tuple[Row, bool]]:
    """Rows, and whether each opens a new group (another first label); groups of one row each are none."""
    if len({row.labels[0] for row in block.rows}) == len(block.rows):
        return [(row, False) for row in block.rows]
    pairs = zip([None, *block.rows], block.rows, strict=False)
    return [(row, before is not None and before.labels[0] != row.labels[0]) for before, row in pairs]

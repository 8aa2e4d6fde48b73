"""Text from outside, made harmless for where it is shown: a terminal, a page, a spreadsheet, Markdown.

A class name may hold a terminal's escape sequences, a line break, a mark that turns the text around, or what a
spreadsheet takes for a formula. Files for programs (JSON, Parquet) keep every character as it is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from rich.markup import escape

# Control characters, half characters, and marks that break lines, turn the direction or cannot be seen.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
# What makes Excel, LibreOffice and Google Sheets take a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# A bracket matters where a link's address may follow it.
_MARKDOWN = re.compile(r"([\\`*_|]|\](?=[(\[:]))")


def shown(text: str, keep: str = "") -> str:
    r"""Text with control characters and marks that deceive the eye written as escapes (`\x1b`, `\n`, `\u202e`).

    Args:
        keep: Characters that stay: line breaks, where the text is meant to have lines.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def shown_in_markup(text: str) -> str:
    """Text for a place where rich's markup is read: `[bold]` is shown, not obeyed."""
    return escape(shown(text))


def shown_in_markdown(text: str) -> str:
    """Text for one place in Markdown: neither markup nor HTML nor a second line."""
    return _MARKDOWN.sub(r"\\\1", shown(text)).replace("&", "&amp;").replace("<", "&lt;")


def csv_text(rows: Iterable[Sequence[object]], *, spreadsheet: bool = False) -> str:
    """Rows as CSV.

    Args:
        spreadsheet: Write it so that no spreadsheet runs a cell: texts that begin like a formula get an apostrophe in
            front, and control characters are written as escapes.
    """
    lines = []
    for row in rows:
        out = io.StringIO()
        # With this end of line, and only with it, a carriage return in a cell is quoted; the lines end in "\n".
        csv.writer(out, lineterminator="\r\n").writerow(
            [_cell(value) for value in row] if spreadsheet else row
        )
        lines.append(out.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

"""The reference of all views in Markdown, made from the views' own documentation.

python -m atlas_core.results.reference docs/results.md
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from atlas_core.errors import AtlasError
from atlas_core.results.database import connect, documentation, query

MARKER = "<!-- From here on made by: python -m atlas_core.results.reference docs/results.md -->"


def view_reference() -> str:
    """A section for each view: what it is, and its columns with type and meaning."""
    with tempfile.TemporaryDirectory() as empty:
        rows = query(
            connect(Path(empty)), "SELECT * FROM documentation ORDER BY view_name, position"
        ).to_pylist()
    parts = [MARKER]
    for view in documentation():
        parts += [
            "",
            f"### {view.name}",
            "",
            view.summary,
            "",
            "| column | type | meaning |",
            "| --- | --- | --- |",
        ]
        parts += [
            f"| `{row['column_name']}` | {row['type'].lower()} | {_cell(row['description'])} |"
            for row in rows
            if row["view_name"] == view.name
        ]
    return "\n".join(parts) + "\n"


def update(page: Path) -> None:
    """Replace what follows the marker in a page.

    Raises:
        AtlasError: The page has no marker.
    """
    text = page.read_text(encoding="utf-8")
    before, marker, _ = text.partition(MARKER)
    if not marker:
        raise AtlasError(f"no marker in {page}", expected=f"a line {MARKER}")
    page.write_text(before + view_reference(), encoding="utf-8")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    update(Path(sys.argv[1]))

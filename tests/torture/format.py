"""What a format is to the torture: inputs drawn by chance, and what reads them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import strategies as st

from tests.torture.mutations import VALUES, changed, mangled

Files = dict[str, bytes]
PNG = b"\x89PNG\r\n\x1a\n"
IMAGES: Files = {f"birds/{name}/{n}.png": PNG for name in ("robin", "wren") for n in range(3)}


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        whole: The files of a good input, by their paths below a new folder.
        damaged: Draws files that are odd, damaged, or still good.
        read: Reads what lies in that folder: a result, or an AtlasError; anything else is a fault.
    """

    name: str
    whole: Files
    damaged: st.SearchStrategy[Files]
    read: Callable[[Path], object]


def put(files: Files, folder: Path) -> None:
    """Write an input's files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def of_document(
    name: str,
    read: Callable[[Path], object],
    file: str,
    whole: Any,
    write: Callable[[Any], bytes],
    beside: Files | None = None,
) -> Format:
    """A format whose file is a document, which is changed here and there, or its text damaged."""
    contents = st.one_of(
        changed(whole, 1).map(write),
        changed(whole, 1).map(write),
        changed(whole, 3).map(write),
        mangled(write(whole)),
        VALUES.map(write),
    )
    return of_file(name, read, file, write(whole), contents, beside)


def of_file(
    name: str,
    read: Callable[[Path], object],
    file: str,
    whole: bytes,
    contents: st.SearchStrategy[bytes] | None = None,
    beside: Files | None = None,
) -> Format:
    """A format of one file, which is mangled where nothing better is given, and of what has to lie beside it."""
    drawn = mangled(whole) if contents is None else contents
    others = beside or {}
    return Format(name, {**others, file: whole}, drawn.map(lambda content: {**others, file: content}), read)


def as_yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=False).encode()


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def as_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()

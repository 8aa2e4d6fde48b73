"""The index artifact: what was written is read, and what was damaged since says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_core.datasets.items import DatasetIndex, Item
from atlas_core.errors import AtlasError
from atlas_core.stages.index import read_index, write_index

NAMES = ("red fox", "wren")
ITEMS = (Item("a.png", 0, "red fox", "train"), Item("b.png", 1, "wren", "test"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_index(DatasetIndex("birds", tmp_path, ITEMS, NAMES), ["0" * 64, "1" * 64], tmp_path)
    return tmp_path


def test_what_was_written_is_read(written: Path) -> None:
    index = read_index(written, written, "birds")
    assert (index.name, index.items, index.class_names) == ("birds", ITEMS, NAMES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"name": 1, "class_names": ["a"]}',
        b'{"name": "birds", "class_names": "ab"}',
        b'{"name": "birds", "class_names": [["a"], "b"]}',
        b'{"name": "birds", "class_names": ["red fox"]}',
        b'{"name": "birds", "class_names": ["red fox", "robin"]}',
    ],
)
def test_a_damaged_description_says_so(content: bytes, written: Path) -> None:
    (written / "dataset.json").write_bytes(content)
    with pytest.raises(AtlasError, match=r"the index .* is damaged.*store verify --delete-damaged"):
        read_index(written, written, "birds")


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("label", pa.array([0, 5], pa.int32())),
        ("label", pa.array([1, 0], pa.int32())),
        ("label", pa.array([0, None], pa.int32())),
        ("label", pa.array([0, 1], pa.int64())),
        ("label", pa.array(["0", "1"])),
        ("path", pa.array([["a"], ["b"]])),
        ("split", pa.array(["train", "other"])),
        ("class_name", None),
    ],
)
def test_a_damaged_table_says_so(column: str, cells: Any, written: Path) -> None:
    table = pq.read_table(written / "items.parquet")
    at = table.column_names.index(column)
    table = table.remove_column(at) if cells is None else table.set_column(at, column, cells)
    pq.write_table(table, written / "items.parquet")
    with pytest.raises(AtlasError, match=r"the index .* is damaged"):
        read_index(written, written, "birds")


@pytest.mark.parametrize("name", ["dataset.json", "items.parquet"])
def test_a_truncated_or_missing_file_says_so(name: str, written: Path) -> None:
    whole = (written / name).read_bytes()
    for content in (whole[:-9], b"", None):
        (written / name).unlink() if content is None else (written / name).write_bytes(content)
        with pytest.raises(AtlasError, match=r"the index .* is damaged"):
            read_index(written, written, "birds")

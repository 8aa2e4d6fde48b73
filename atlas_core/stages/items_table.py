"""Which images an artifact holds: `items.parquet`, one row an image in the artifact's order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_core.datasets.items import Item


def write_items(folder: Path, items: Sequence[Item]) -> None:
    table = pa.table(
        {
            "path": [item.path for item in items],
            "label": pa.array([item.label for item in items], pa.int32()),
            "class_name": [item.class_name for item in items],
        }
    )
    pq.write_table(table, folder / "items.parquet", compression="zstd")


def read_items(folder: Path) -> pa.Table:
    return pq.read_table(folder / "items.parquet")

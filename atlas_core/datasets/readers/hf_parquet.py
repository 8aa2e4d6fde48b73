"""Images that `datasets/parquet_images.py` took out of Parquet files, with the index written beside them."""

from __future__ import annotations

import json
from pathlib import Path

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Item
from atlas_core.datasets.readers.base import Listing, distinct_names
from atlas_core.errors import AtlasError

INDEX_FILE = "index.json"


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items in the order of the Parquet rows."""
    path = folder / INDEX_FILE
    if not path.is_file():
        raise AtlasError(
            f"dataset {spec.name!r} has no {path}",
            expected="the index written when the images were taken out of the Parquet files",
            fix=f"`atlas datasets fetch {spec.name}`",
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    names = tuple(content["class_names"])
    items = tuple(Item(p, label, names[label], split) for p, label, split in content["items"])
    distinct_names(spec, dict(enumerate(names)), fix="rename or merge the classes where the files were made")
    return Listing(items, names)

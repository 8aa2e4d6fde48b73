"""Images that `datasets/parquet_images.py` took out of Parquet files, with the index written beside them."""

from __future__ import annotations

import json
from pathlib import Path

from atlas_core.datasets.advice import how_to_get, where_to_extract
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.class_names import class_titles
from atlas_core.datasets.items import Item
from atlas_core.datasets.readers.base import Listing
from atlas_core.datasets.reading import Reading
from atlas_core.errors import AtlasError

INDEX_FILE = "index.json"


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items in the order of the Parquet rows."""
    path = folder / INDEX_FILE
    if not path.is_file():
        raise AtlasError(
            f"dataset {spec.name!r} has no {path}",
            expected="the index written when the images were taken out of the Parquet files",
            fix=where_to_extract(spec, folder)
            if spec.source and any(folder.iterdir())
            else how_to_get(spec, folder),
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    declared = tuple(content["class_names"])
    titles, names_from = class_titles(spec, folder, declared)
    names = tuple(titles[name] for name in declared)
    items = tuple(Item(p, label, names[label], split) for p, label, split in content["items"])
    why = f"{content['why']}; class names from {names_from}" if names_from else content["why"]
    return Listing(items, names, reading=Reading(why))

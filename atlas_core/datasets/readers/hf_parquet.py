"""Images that `datasets/parquet_images.py` took out of Parquet files, with the index written beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from atlas_core.budgets import TABLE_BYTES
from atlas_core.datasets.advice import how_to_get, where_to_extract
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.class_names import class_titles
from atlas_core.datasets.items import Item, Split
from atlas_core.datasets.readers.base import Listing
from atlas_core.datasets.reading import Reading
from atlas_core.documents import read_text
from atlas_core.errors import AtlasError
from atlas_core.own_files import LIST

INDEX_FILE = "index.json"


class Extracted(BaseModel):
    """What the index of extracted images says.

    Attributes:
        made_from: What the extraction depended on (`parquet_images.extraction_key`).
        why: How the files were read.
        class_names: By label.
        items: (path, label, split) of each image, in the order of the Parquet rows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    made_from: dict[str, Any]
    why: str = ""
    class_names: tuple[str, ...]
    items: tuple[tuple[str, int, Split], ...]


def read_extracted(folder: Path) -> Extracted:
    """The index that an extraction wrote.

    Raises:
        AtlasError: It is not there, or is not as it was written.
    """
    path = folder / INDEX_FILE
    try:
        index = Extracted.model_validate_json(read_text(path, TABLE_BYTES))
        if any(not 0 <= label < len(index.class_names) for _, label, _ in index.items):
            raise ValueError("a label without a class name")
    except FileNotFoundError as error:
        raise AtlasError(
            f"there is no {path}",
            expected="the index written when the images were taken out of the Parquet files",
            fix="fetch the dataset",
        ) from error
    except (OSError, ValueError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise AtlasError(
            f"the index {path} is damaged: {problem}",
            expected="the index as it was written when the images were taken out of the Parquet files",
            fix="delete it and fetch the dataset again",
        ) from error
    return index


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items in the order of the Parquet rows."""
    if not (folder / INDEX_FILE).is_file():
        raise AtlasError(
            f"dataset {spec.name!r} has no {folder / INDEX_FILE}",
            expected="the index written when the images were taken out of the Parquet files",
            fix=where_to_extract(spec, folder)
            if spec.source and any(folder.iterdir()) and not (folder / LIST).is_file()
            else how_to_get(spec, folder),
        )
    index = read_extracted(folder)
    titles, names_from = class_titles(spec, folder, index.class_names)
    names = tuple(titles[name] for name in index.class_names)
    items = tuple(Item(p, label, names[label], split) for p, label, split in index.items)
    why = f"{index.why}; class names from {names_from}" if names_from else index.why
    return Listing(items, names, reading=Reading(why))

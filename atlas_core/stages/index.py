"""index: read a dataset's layout into a table of images, each with the hash of its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from atlas_core.budgets import LIST_BYTES
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import SPLITS, DatasetIndex, Item
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.readers import read_dataset
from atlas_core.documents import parse_json, read_text
from atlas_core.errors import AtlasError
from atlas_core.hashing import file_sha256
from atlas_core.stages.stage import Stage, StageContext

_HASHING_THREADS = 8


def _run(context: StageContext) -> None:
    spec = DatasetSpec(**{**context.runtime["spec"], **context.config})
    index = read_dataset(spec, context.placement.data_path)
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        hashes = list(pool.map(lambda item: _image_hash(index, item), index.items))
    write_index(index, hashes, context.out)


def write_index(index: DatasetIndex, hashes: list[str], out: Path) -> None:
    """Write `items.parquet` (one row an image, in the published order) and `dataset.json`."""
    import pyarrow as pa  # here and below: telling whether an index is stale does without it
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "path": [item.path for item in index.items],
            "label": pa.array([item.label for item in index.items], pa.int32()),
            "class_name": [item.class_name for item in index.items],
            "split": [item.split for item in index.items],
            "sha256": hashes,
        }
    )
    pq.write_table(table, out / "items.parquet", compression="zstd")
    description = {
        "name": index.name,
        "class_names": list(index.class_names),
        "class_ids": list(index.class_ids),
    }
    (out / "dataset.json").write_text(json.dumps(description, sort_keys=True, ensure_ascii=False))


def read_index(folder: Path, root: Path) -> DatasetIndex:
    """The index artifact in `folder`, with images under `root`.

    Raises:
        AtlasError: It is not as `write_index` wrote it.
    """
    import pyarrow as pa

    try:
        name, class_names, class_ids = _description(folder)
        items = _items(folder, class_names)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise AtlasError(
            f"the index {folder} is damaged: {error}",
            expected="the files as this program wrote them",
            fix="`atlas store verify --delete-damaged`, then run again",
        ) from error
    return DatasetIndex(name, root, items, class_names, class_ids)


def _description(folder: Path) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The dataset's name, its class names, and their ids where the layout has some."""
    match parse_json(read_text(folder / "dataset.json", LIST_BYTES), str(folder)):
        case {"name": str(name), "class_names": [*names], "class_ids": [*ids]} if (
            all(isinstance(each, str) for each in [*names, *ids]) and len(ids) in (0, len(names))
        ):
            return name, tuple(names), tuple(ids)
    raise ValueError("dataset.json has another form")


def _items(folder: Path, class_names: tuple[str, ...]) -> tuple[Item, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "items.parquet")
    kinds = dict(zip(table.column_names, table.schema.types, strict=True))
    expected = {"path": pa.string(), "label": pa.int32(), "class_name": pa.string(), "split": pa.string()}
    if {name: kinds.get(name) for name in expected} != expected or any(
        table.column(name).null_count for name in expected
    ):
        raise ValueError("items.parquet has other columns")
    items = tuple(Item(**row) for row in table.select(list(expected)).to_pylist())
    if any(not 0 <= i.label < len(class_names) or class_names[i.label] != i.class_name for i in items):
        raise ValueError("items.parquet and dataset.json name other classes")
    if not {item.split for item in items} <= set(SPLITS):
        raise ValueError("items.parquet holds an unknown split")
    return items


def _image_hash(index: DatasetIndex, item: Item) -> str:
    try:
        return file_sha256(index.path(item))
    except OSError as error:
        raise AtlasError(
            f"image {item.path} of dataset {index.name!r} cannot be read: {error.strerror}",
            expected=f"a readable file at {index.path(item)}",
            fix=f"fetch the dataset again (`atlas datasets verify {index.name}` lists what is missing)",
        ) from error


def _listing(config: Mapping[str, Any], runtime: Mapping[str, Any]) -> str:
    return listing_fingerprint(Path(runtime["folder"]))


INDEX = Stage(_run, source=_listing)

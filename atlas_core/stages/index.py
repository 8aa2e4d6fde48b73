"""index: read a dataset's layout into a table of images, each with the hash of its bytes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from atlas_core.budgets import LIST_BYTES
from atlas_core.datasets.advice import datasets_command, how_to_get
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
        hashes = list(pool.map(lambda item: _image_hash(spec, index, item), index.items))
    write_index(index, hashes, context.out)


def write_index(index: DatasetIndex, hashes: list[str], out: Path) -> None:
    """Write `items.parquet` (one row an image, in the published order) and `dataset.json`.

    The dataset's name is in neither: it is a study's, and two studies may call one dataset by different names.
    """
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
        "class_names": list(index.class_names),
        "class_ids": list(index.class_ids),
        **summary(index, hashes),
    }
    (out / "dataset.json").write_text(json.dumps(description, sort_keys=True, ensure_ascii=False))


def summary(index: DatasetIndex, hashes: Sequence[str]) -> dict[str, Any]:
    """What is known of a dataset without its rows.

    `content` is a digest of its images, labels and splits; `counts` has the images of each split and the classes;
    `train_images` has each class's training images, by label.
    """
    content = hashlib.sha256()
    for item, image in zip(index.items, hashes, strict=True):
        content.update("\0".join((item.path, item.class_name, item.split, image, "\n")).encode())
    of_class = Counter(item.label for item in index.items if item.split == "train")
    return {
        "content": content.hexdigest(),
        "counts": {
            **{split: len(index.positions(split)) for split in SPLITS},
            "classes": len(index.class_names),
        },
        "train_images": [of_class[label] for label in range(len(index.class_names))],
    }


def read_summary(folder: Path) -> dict[str, Any]:
    """`summary` of the index artifact in `folder`, and its `class_names`."""
    found: dict[str, Any] = parse_json(read_text(folder / "dataset.json", LIST_BYTES), str(folder))
    return found


def read_index(folder: Path, root: Path, name: str) -> DatasetIndex:
    """The index artifact in `folder`, with images under `root`, as the dataset of that name.

    Raises:
        AtlasError: It is not as `write_index` wrote it.
    """
    import pyarrow as pa

    try:
        class_names, class_ids = _classes(folder)
        items = _items(folder, class_names)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise AtlasError(
            f"the index {folder} is damaged: {error}",
            expected="the files as this program wrote them",
            fix="`atlas store verify --delete-damaged`, then run again",
        ) from error
    return DatasetIndex(name, root, items, class_names, class_ids)


def _classes(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The class names, and their ids where the layout has some."""
    match read_summary(folder):
        case {"class_names": [*names], "class_ids": [*ids]} if (
            all(isinstance(each, str) for each in [*names, *ids]) and len(ids) in (0, len(names))
        ):
            return tuple(names), tuple(ids)
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


def _image_hash(spec: DatasetSpec, index: DatasetIndex, item: Item) -> str:
    try:
        return file_sha256(index.path(item))
    except OSError as error:
        raise AtlasError(
            f"image {item.path} of dataset {index.name!r} cannot be read: {error.strerror}",
            expected=f"a readable file at {index.path(item)}",
            fix=f"{datasets_command('verify', spec, index.root)} lists what is missing or damaged; "
            f"{how_to_get(spec, index.root)}",
        ) from error


def _listing(config: Mapping[str, Any], runtime: Mapping[str, Any]) -> str:
    return listing_fingerprint(Path(runtime["folder"]))


INDEX = Stage(_run, source=_listing)

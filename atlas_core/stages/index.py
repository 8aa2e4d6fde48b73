"""index: read a dataset's layout into a table of images, each with the hash of its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import DatasetIndex, Item
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.readers import read_dataset
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
    """The index artifact in `folder`, with images under `root`."""
    import pyarrow.parquet as pq

    description = json.loads((folder / "dataset.json").read_text())
    rows = pq.read_table(
        folder / "items.parquet", columns=["path", "label", "class_name", "split"]
    ).to_pylist()
    items = tuple(Item(**row) for row in rows)
    names, ids = tuple(description["class_names"]), tuple(description["class_ids"])
    return DatasetIndex(description["name"], root, items, names, ids)


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

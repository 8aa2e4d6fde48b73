"""index: read a dataset's layout into a table of images, each with the hash of its bytes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from atlas_core.budgets import LIST_BYTES
from atlas_core.datasets.advice import datasets_command, how_to_get
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import SPLITS, DatasetIndex, Item, Split
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.readers import read_dataset
from atlas_core.documents import read_text
from atlas_core.errors import AtlasError
from atlas_core.hashing import file_sha256
from atlas_core.stages.stage import Stage, StageContext

_HASHING_THREADS = 8
SUMMARY_FILE = "dataset.json"


@dataclass(frozen=True)
class IndexSummary:
    """What an index says of a dataset without its rows.

    Attributes:
        class_names: By label.
        class_ids: By label; empty where the layout knows none.
        content: Digest of its images, labels and splits.
        images: Split → images of each class, by label.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    content: str
    images: dict[Split, tuple[int, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """Images of each split, and classes."""
        return {**{split: sum(of_class) for split, of_class in self.images.items()}, "classes": len(self.class_names)}


_SUMMARY = TypeAdapter(IndexSummary)


def _run(context: StageContext) -> None:
    spec = DatasetSpec(**{**context.runtime["spec"], **context.config})
    index = read_dataset(spec, context.placement.data_path)
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        hashes = list(pool.map(lambda item: _image_hash(spec, index, item), index.items))
    write_index(index, hashes, context.out)


def write_index(index: DatasetIndex, hashes: list[str], out: Path) -> None:
    """Write `items.parquet` (one row for each image, in the published order) and `dataset.json` (`IndexSummary`).

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
    (out / SUMMARY_FILE).write_bytes(_SUMMARY.dump_json(summarise(index, hashes)))


def summarise(index: DatasetIndex, hashes: Sequence[str]) -> IndexSummary:
    """The summary of an index whose images have these hashes."""
    content = hashlib.sha256()
    for item, image in zip(index.items, hashes, strict=True):
        content.update("\0".join((item.path, item.class_name, item.split, image, "\n")).encode())
    counts = Counter((item.split, item.label) for item in index.items)
    labels = range(len(index.class_names))
    images = {split: tuple(counts[split, label] for label in labels) for split in SPLITS}
    return IndexSummary(index.class_names, index.class_ids, content.hexdigest(), images)


def read_summary(folder: Path) -> IndexSummary:
    """The summary in an index artifact's folder.

    Raises:
        AtlasError: It is not as `write_index` wrote it.
    """
    try:
        found = _SUMMARY.validate_json(read_text(folder / SUMMARY_FILE, LIST_BYTES))
        if {len(each) for each in found.images.values()} != {len(found.class_names)} or len(
            found.class_ids
        ) not in (0, len(found.class_names)):
            raise ValueError("its lists have different lengths")
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from error
    return found


def read_index(folder: Path, root: Path, name: str) -> DatasetIndex:
    """The index artifact in `folder`, with images under `root`, as the dataset of that name.

    Raises:
        AtlasError: It is not as `write_index` wrote it.
    """
    import pyarrow as pa

    summary = read_summary(folder)
    try:
        items = _items(folder, summary.class_names)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(folder, error) from error
    return DatasetIndex(name, root, items, summary.class_names, summary.class_ids)


def _damaged(folder: Path, error: Exception) -> AtlasError:
    reason = str(error).replace("\n", " ")
    return AtlasError(
        f"the index {folder} is damaged: {reason}",
        expected="the files as this program wrote them",
        fix="`atlas store verify --delete-damaged`, then run again",
    )


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

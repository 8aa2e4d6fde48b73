"""Tables of labels, packed images, and the indexes that we write ourselves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import DatasetIndex, Item
from atlas_core.datasets.parquet_images import extract_images
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.readers.hf_parquet import INDEX_FILE
from atlas_core.stages.index import read_index, write_index
from tests.torture.format import IMAGES, PNG, Format, as_json, as_parquet, of_document, of_file
from tests.torture.mutations import mangled, tables

CSV = b"""path,class,split
robin/0.png,robin,train
wren/0.png,"a wren",train
robin/1.png,robin,test
wren/1.png,"a wren",test
"""
LABELS = pa.table(
    {"path": ["robin/0.png", "wren/0.png"], "class": ["robin", "wren"], "split": ["train", "test"]}
)
PACKED = pa.table(
    {"image": [{"bytes": PNG, "path": None}] * 4, "label": [0, 1, 0, 1]}
).replace_schema_metadata(
    {
        "huggingface": json.dumps(
            {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
        )
    }
)
EXTRACTED = {
    "made_from": {"files": [], "options": {}},
    "class_names": ["robin", "wren"],
    "items": [["robin/0.png", 0, "train"], ["wren/0.png", 1, "test"]],
}


def table_formats() -> list[Format]:
    """The formats of tables."""
    odd = tables(["path", "class", "split", "label", "image", "class_name"]).map(as_parquet)
    labels, packed = as_parquet(LABELS), as_parquet(PACKED)
    index = _written_index()
    items = index["items.parquet"]
    odd_items = tables(["path", "label", "class_name", "split"]).map(as_parquet)
    description = json.loads(index["dataset.json"])
    return [
        of_file("CSV", _read_table("labels.csv"), "birds/labels.csv", CSV, None, IMAGES),
        of_file("TSV", _read_table("labels.tsv"), "birds/labels.tsv", CSV.replace(b",", b"\t"), None, IMAGES),
        of_file(
            "Parquet",
            _read_table("labels.parquet"),
            "birds/labels.parquet",
            labels,
            mangled(labels) | odd,
            IMAGES,
        ),
        of_file("packed images", _read_packed, "images.parquet", packed, mangled(packed) | odd),
        of_document("extracted index", _read_extracted, f"birds/{INDEX_FILE}", EXTRACTED, as_json, IMAGES),
        of_document("index: description", _read_index, "dataset.json", description, as_json, index),
        of_file("index: items", _read_index, "items.parquet", items, mangled(items) | odd_items, index),
    ]


def _read_table(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        spec = DatasetSpec(name="birds", layout="table", folder=str(folder / "birds"), options={"file": name})
        return read_dataset(spec, folder)

    return read


def _read_packed(folder: Path) -> object:
    out = folder / "out"
    out.mkdir()
    spec = DatasetSpec(name="birds", layout="hf_parquet", folder=str(out))
    extract_images(spec, folder / "images.parquet", out)
    return read_dataset(spec, folder)


def _read_extracted(folder: Path) -> object:
    return read_dataset(DatasetSpec(name="birds", layout="hf_parquet", folder=str(folder / "birds")), folder)


def _written_index() -> dict[str, bytes]:
    items = (Item("robin/0.png", 0, "robin", "train"), Item("wren/0.png", 1, "wren", "test"))
    with tempfile.TemporaryDirectory() as folder:
        write_index(DatasetIndex("birds", Path(), items, ("robin", "wren")), ["0" * 64] * 2, Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _read_index(folder: Path) -> object:
    return read_index(folder, folder, "birds")

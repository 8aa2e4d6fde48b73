"""Tables of labels: odd cells are refused before they are used, and a small file does not become a large table."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_core.budgets import CELL, ROWS, Limits
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.parquet_images import extract_images
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.readers.table_file import parquet_columns
from atlas_core.errors import AtlasError

PNG = b"\x89PNG\r\n\x1a\n"


def read(folder: Path, **options: Any) -> list[tuple[str, str, str]]:
    spec = DatasetSpec(name="birds", layout="table", folder=str(folder), options=options)
    return [(item.path, item.class_name, item.split) for item in read_dataset(spec, folder).items]


def parquet(folder: Path, **columns: Any) -> Path:
    for name in ("1.png", "2.png"):
        (folder / name).touch()
    columns = {"path": ["1.png", "2.png"], "class": ["a", "b"], "split": ["train", "test"]} | columns
    pq.write_table(pa.table(columns), folder / "labels.parquet")
    return folder / "labels.parquet"


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_text_is_text_however_it_is_stored(text: pa.DataType, tmp_path: Path) -> None:
    parquet(tmp_path, **{"class": pa.array(["a", "b"]).cast(text)})
    assert read(tmp_path) == [("1.png", "a", "train"), ("2.png", "b", "test")]


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    parquet(tmp_path, embedding=[[1.0], [2.0]], thumbnail=[PNG, PNG])
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([["a"], ["b"]], "list<"),
        ([{"x": 1}, {"x": 2}], "struct<"),
        ([b"a", b"b"], "bytes"),
        ([datetime.date(2020, 1, 1)] * 2, "date"),
    ],
)
def test_cells_that_are_neither_text_nor_numbers_are_refused(
    cells: list[Any], kind: str, tmp_path: Path
) -> None:
    parquet(tmp_path, **{"class": cells})
    with pytest.raises(AtlasError, match=f"column 'class' holds a value of type {kind}"):
        read(tmp_path)


@pytest.mark.parametrize("cells", [[1.0, float("nan")], ["a", None], ["a", ""]])
def test_a_class_of_nothing_is_refused(cells: list[Any], tmp_path: Path) -> None:
    parquet(tmp_path, **{"class": cells})
    with pytest.raises(AtlasError, match="a row of column 'class' is empty"):
        read(tmp_path)


def test_a_cell_of_a_page_is_refused(tmp_path: Path) -> None:
    parquet(tmp_path, **{"class": ["a", "b" * (CELL.most + 1)]})
    with pytest.raises(AtlasError, match="column 'class' asks for too much: more than 4,096 characters"):
        read(tmp_path)
    (tmp_path / "labels.csv").write_text("path,class\n1.png," + "a" * (CELL.most + 1) + "\n2.png,b\n")
    with pytest.raises(AtlasError, match="column 'class' asks for too much"):
        read(tmp_path, file="labels.csv")


def run_length_bomb(file: Path, **same: Any) -> None:
    """More rows than we read, in a file of some kilobytes; every column repeats one value."""
    rows = ROWS.most // 4 + 1
    table = pa.table(
        {
            name: pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), pa.array([value]))
            for name, value in same.items()
        }
    )
    with pq.ParquetWriter(file, table.schema) as writer:
        for _ in range(4):
            writer.write_table(table, row_group_size=rows)


def test_a_run_length_bomb_is_refused_by_its_number_of_rows(tmp_path: Path) -> None:
    run_length_bomb(tmp_path / "labels.parquet", path="1.png", **{"class": "a"})
    assert (tmp_path / "labels.parquet").stat().st_size < 100_000
    with pytest.raises(AtlasError, match=r"labels.parquet asks for too much: more than 4,000,000 rows"):
        read(tmp_path)


def test_a_text_that_is_repeated_is_kept_once(tmp_path: Path) -> None:
    # 100,000 rows of 4,000 letters are 400 MB when each is a text of its own.
    same = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), 100_000), pa.array(["x" * 4000])
    )
    pq.write_table(pa.table({"class": same}), tmp_path / "labels.parquet")
    cells = parquet_columns(tmp_path / "labels.parquet")["class"]
    assert len(cells) == 100_000
    assert len({id(cell) for cell in cells}) <= 2


def test_images_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pa.repeat(pa.scalar(PNG + bytes(1 << 16)), 200)
    pq.write_table(pa.table({"image": images, "label": ["a", "b"] * 100}), tmp_path / "images.parquet")
    monkeypatch.setattr("atlas_core.datasets.parquet_images.USUAL", Limits(ratio=10, free_bytes=1 << 20))
    spec = DatasetSpec(name="birds", layout="hf_parquet", folder="birds")
    (tmp_path / "out").mkdir()
    with pytest.raises(AtlasError, match=r"images.parquet asks for too much: more than 1,048,576 bytes"):
        extract_images(spec, tmp_path / "images.parquet", tmp_path / "out")
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.png"))
    assert written <= 1 << 20


@pytest.mark.parametrize(
    "columns",
    [
        {"image": [PNG] * 2, "label": [["a"], ["b"]]},
        {"image": [PNG] * 2, "label": [{"x": 1}, {"x": 2}]},
        {"image": [PNG] * 2, "label": [1.0, float("nan")]},
        {"image": [[1], [2]], "label": ["a", "b"]},
        {"image": ["1.png", "2.png"], "label": ["a", "b"]},
        {"image": [None, PNG], "label": ["a", "b"]},
        {"image": [PNG] * 2, "label": ["a", "b"], "class_name": [["a"], ["b"]]},
        {"image": [PNG] * 2, "label": ["a", "b"], "split": [1, 2]},
        {"image": [b"no image"] * 2, "label": ["a", "b"]},
    ],
)
def test_packed_images_with_odd_cells_are_refused(columns: dict[str, Any], tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "images.parquet")
    spec = DatasetSpec(name="birds", layout="hf_parquet", folder="birds")
    (tmp_path / "out").mkdir()
    with pytest.raises(AtlasError, match=r"images\.parquet"):
        extract_images(spec, tmp_path / "images.parquet", tmp_path / "out")


@pytest.mark.parametrize(
    "metadata",
    [
        "[]",
        "[" * 5000,
        '{"info": null}',
        '{"info": {"features": [1]}}',
        "\xff",
        '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}',
        '{"info": {"features": {"label": {"_type": "ClassLabel", "names": 5}}}}',
    ],
)
def test_metadata_of_another_form_declares_nothing(metadata: str, tmp_path: Path) -> None:
    table = pa.table({"image": [PNG] * 4, "label": ["a", "b"] * 2})
    table = table.replace_schema_metadata({"huggingface": metadata.encode("latin-1")})
    pq.write_table(table, tmp_path / "images.parquet")
    spec = DatasetSpec(name="birds", layout="hf_parquet", folder=str(tmp_path / "out"))
    (tmp_path / "out").mkdir()
    extract_images(spec, tmp_path / "images.parquet", tmp_path / "out")
    assert read_dataset(spec, tmp_path).class_names == ("a", "b")

"""Data of one's own: class folders, tables, Parquet files with images inside, and splits that are made."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atlas_core.datasets.automatic_split import automatic_split
from atlas_core.datasets.catalogue import DatasetSpec, Source, dataset_spec
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.datasets.items import SPLITS, DatasetIndex
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.verify import verify
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import jpeg


def touch(folder: Path, paths: Sequence[str]) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(jpeg())


def sizes(index: DatasetIndex) -> tuple[int, ...]:
    return tuple(len(index.positions(split)) for split in SPLITS)


# --- automatic splits ------------------------------------------------------------------------------------------

classes = st.lists(st.sampled_from("abcd"), min_size=1, max_size=80)


@given(classes, st.integers(0, 9))
def test_every_class_is_cut_in_the_same_shares(class_of: list[str], seed: int) -> None:
    splits = automatic_split(class_of, seed)
    assert splits == automatic_split(class_of, seed)
    for name, n in Counter(class_of).items():
        found = Counter(split for split, each in zip(splits, class_of, strict=True) if each == name)
        assert abs(found["train"] - 0.5 * n) <= 1
        assert abs(found["test"] - 0.3 * n) <= 1
        if n >= 2:
            assert found["train"] >= 1
            assert found["test"] >= 1


@given(classes)
def test_another_class_moves_no_image_of_the_first(class_of: list[str]) -> None:
    with_more = [*class_of, *["new"] * 7]
    assert automatic_split(with_more)[: len(class_of)] == automatic_split(class_of)


def test_another_seed_gives_another_split() -> None:
    assert automatic_split(["a"] * 40, 0) != automatic_split(["a"] * 40, 1)


@pytest.mark.parametrize(
    "fractions",
    [
        {"train": 0.5},
        {"train": 1.5, "test": -0.5},
        {"training": 1.0},
        {"train": "1"},
        {"train": True, "a": 0},
    ],
)
def test_shares_that_make_no_whole_are_refused(fractions: Any) -> None:
    with pytest.raises(AtlasError, match="sum to 1"):
        automatic_split(["a", "b"], fractions=fractions)


# --- class folders ---------------------------------------------------------------------------------------------


def folder_spec(folder: Path, **options: Any) -> DatasetSpec:
    return DatasetSpec(name="own", layout="image_folder", folder=str(folder), options=options)


def test_class_folders_are_split_automatically(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/sub/{n}.jpg" for name in ("wren", "robin") for n in range(10)])
    (tmp_path / "robin" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    index = read_dataset(folder_spec(tmp_path), tmp_path)
    assert index.class_names == ("robin", "wren")
    assert sizes(index) == (10, 4, 6)
    assert read_dataset(folder_spec(tmp_path), tmp_path) == index
    assert read_dataset(folder_spec(tmp_path, seed=5), tmp_path) != index
    assert sizes(read_dataset(folder_spec(tmp_path, fractions={"test": 1}), tmp_path)) == (0, 0, 20)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "val", "test"), (4, 4, 4)),
        (("train", "valid", "test"), (4, 4, 4)),
        (("train", "test"), (4, 0, 4)),
        (("train", "validation"), (4, 0, 4)),
        (("test",), (0, 0, 4)),
        (("train",), (2, 0, 2)),
    ],
)
def test_split_folders_are_followed(
    folders: tuple[str, ...], expected: tuple[int, ...], tmp_path: Path
) -> None:
    touch(tmp_path, [f"{part}/{name}/{n}.jpg" for part in folders for name in ("a", "b") for n in range(2)])
    assert sizes(read_dataset(folder_spec(tmp_path), tmp_path)) == expected


def test_a_class_may_be_absent_from_a_split(tmp_path: Path) -> None:
    touch(tmp_path, ["train/a/1.jpg", "train/b/1.jpg", "test/b/2.jpg", "test/c/1.jpg"])
    index = read_dataset(folder_spec(tmp_path), tmp_path)
    assert index.class_names == ("a", "b", "c")
    assert [(item.split, item.label) for item in index.items] == [
        ("train", 0),
        ("train", 1),
        ("test", 1),
        ("test", 2),
    ]


def test_folders_of_any_name_are_classes(tmp_path: Path) -> None:
    names = ["Ångström", 'O\'Brien "x"', "a b", "東京"]
    touch(tmp_path, [f"{name}/{name}.JPG" for name in names])
    assert read_dataset(folder_spec(tmp_path), tmp_path).class_names == tuple(sorted(names))


def test_class_names_can_be_given(tmp_path: Path) -> None:
    touch(tmp_path, ["12/1.jpg", "n01/1.jpg"])
    index = read_dataset(folder_spec(tmp_path, class_names={12: "robin", "n01": "wren"}), tmp_path)
    assert index.class_names == ("robin", "wren")
    with pytest.raises(AtlasError, match="the classes are 12, n01"):
        read_dataset(folder_spec(tmp_path, class_names={"n02": "wren"}), tmp_path)


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        (["1.jpg"], "holds no folders"),
        (["a/1.jpg"], "only 1 class"),
        (["a/1.jpg", "b/notes.txt"], "without images: b"),
        (["train/a/1.jpg", "val/a/1.jpg", "valid/b/1.jpg"], "two folders for one split"),
    ],
)
def test_folders_that_are_no_dataset_are_refused(paths: list[str], complaint: str, tmp_path: Path) -> None:
    touch(tmp_path, paths)
    with pytest.raises(AtlasError, match=complaint):
        read_dataset(folder_spec(tmp_path), tmp_path)


def test_a_damaged_image_is_found_by_verify(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/{n}.jpg" for name in "ab" for n in range(3)])
    (tmp_path / "a/1.jpg").write_bytes(b"no image")
    report = verify(folder_spec(tmp_path), tmp_path)
    assert [path for path, _ in report.damaged] == ["a/1.jpg"]
    assert verify(folder_spec(tmp_path), tmp_path, decode=False).ok


# --- tables ------------------------------------------------------------------------------------------------------

ROWS: Mapping[str, list[Any]] = {
    "path": ["x/1.jpg", "x/2.jpg", "y/3.jpg", "y/4, 5.jpg"],
    "class": ["wren", "robin", "wren", "robin"],
    "split": ["train", "Training", "test", "test"],
}


def written_table(folder: Path, name: str, rows: Mapping[str, list[Any]], **options: Any) -> DatasetSpec:
    folder.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        pq.write_table(pa.table(dict(rows)), folder / name)
    else:
        mark = "\t" if name.endswith(".tsv") else ","
        quoted = [
            [f'"{cell}"' if mark in str(cell) else str(cell) for cell in row]
            for row in zip(*rows.values(), strict=True)
        ]
        lines = [mark.join(rows), *(mark.join(row) for row in quoted)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return DatasetSpec(name="own", layout="table", folder=str(folder), options={"file": name, **options})


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.parquet"])
def test_a_table_lists_images_in_its_own_order(name: str, tmp_path: Path) -> None:
    touch(tmp_path, ROWS["path"])
    index = read_dataset(written_table(tmp_path, name, ROWS), tmp_path)
    assert [item.path for item in index.items] == ROWS["path"]
    assert index.class_names == ("robin", "wren")
    assert [item.split for item in index.items] == ["train", "train", "test", "test"]


def test_a_table_is_named_by_its_path(tmp_path: Path) -> None:
    touch(tmp_path, ROWS["path"])
    written_table(tmp_path, "birds.csv", ROWS)
    spec = dataset_spec(f"table:{tmp_path / 'birds.csv'}")
    assert spec.name == "birds"
    assert len(read_dataset(spec, tmp_path).items) == 4


def test_a_table_without_splits_is_split_automatically(tmp_path: Path) -> None:
    touch(tmp_path, ROWS["path"])
    rows = {"path": ROWS["path"], "class": ROWS["class"]}
    assert sizes(read_dataset(written_table(tmp_path, "labels.csv", rows), tmp_path)) == (2, 0, 2)


def test_other_columns_and_numbered_classes_can_be_named(tmp_path: Path) -> None:
    touch(tmp_path / "pictures", [f"{n}.jpg" for n in range(4)])
    rows: dict[str, list[Any]] = {
        "id": [f"{n}.jpg" for n in range(4)],
        "kind": [10, 2, 10, 2],
        "fold": ["train", "train", "test", "test"],
    }
    options = {"columns": {"path": "id", "class": "kind", "split": "fold"}, "class_names": {10: "ten"}}
    spec = written_table(tmp_path, "rows.csv", rows, **options).model_copy(
        update={"image_folder": "pictures"}
    )
    index = read_dataset(spec, tmp_path)
    assert index.class_names == ("2", "ten"), "numbers are sorted by value"
    assert index.items[0].path == "pictures/0.jpg"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": ["../x.jpg", "b", "c", "d"]}, "leaves its folder"),
        ({"path": ["x/1.jpg", "x/1.jpg", "y/3.jpg", "y/4, 5.jpg"]}, "twice"),
        ({"path": ["x/1.jpg", "none.jpg", "y/3.jpg", "y/4, 5.jpg"]}, "1 of 4 images are missing"),
        ({"split": ["train", "dev", "test", "test"]}, "split 'dev'"),
        ({"class": ["wren", "", "wren", "robin"]}, "column 'class' is empty"),
        ({"class": ["wren"] * 4}, "only 1 class"),
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_a_wrong_table_is_one_error(
    name: str, change: dict[str, list[str]], complaint: str, tmp_path: Path
) -> None:
    touch(tmp_path, ROWS["path"])
    with pytest.raises(AtlasError, match=complaint):
        read_dataset(written_table(tmp_path, name, {**ROWS, **change}), tmp_path)


def test_a_table_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    spec = written_table(tmp_path, "labels.csv", {"name": ["a"], "class": ["b"]})
    with pytest.raises(AtlasError, match=r"no column for the path.*it has name, class"):
        read_dataset(spec, tmp_path)
    for text, complaint in (
        ("", "is empty"),
        ("path,class\na\n", "line 2"),
        ("path,class\n\xe9", "cannot be read"),
    ):
        (tmp_path / "labels.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(AtlasError, match=complaint):
            read_dataset(spec, tmp_path)
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(AtlasError, match=r"has no labels\.csv"):
        read_dataset(spec, tmp_path)
    (tmp_path / "labels.parquet").write_bytes(b"no parquet")
    broken = spec.model_copy(update={"options": {"file": "labels.parquet"}})
    with pytest.raises(AtlasError, match="cannot be read"):
        read_dataset(broken, tmp_path)


# --- images inside Parquet files -----------------------------------------------------------------------------------


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def hugging_face(
    folder: Path, splits: Mapping[str, list[int]], names: Sequence[str] = ("cat", "dog")
) -> Path:
    """A dataset as `datasets` writes it: data/SPLIT-00000-of-00001.parquet with the names in the metadata."""
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (folder / "data").mkdir(parents=True)
    for split, labels in splits.items():
        images = [{"bytes": png(n), "path": f"{n}.png"} for n in range(len(labels))]
        table = pa.table({"image": images, "label": labels}).replace_schema_metadata(metadata)
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def taken_out(source: Path, root: Path, **options: Any) -> tuple[DatasetSpec, DatasetIndex]:
    spec = dataset_spec(f"hf_parquet:{source}").model_copy(update={"options": options})
    ensure_fetched(spec, root)
    return spec, read_dataset(spec, root)


def test_a_hugging_face_dataset_is_taken_out_of_its_parquet_files(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [1, 0, 1], "validation": [0], "test": [1, 1]})
    spec, index = taken_out(source, tmp_path / "root")
    assert index.class_names == ("cat", "dog")
    assert sizes(index) == (3, 1, 2)
    assert sorted(item.label for item in index.items if item.split == "train") == [0, 1, 1]
    first = next(item for item in index.items if item.split == "train")
    assert index.path(first).read_bytes() == png(0), "the bytes stay as they are"
    assert verify(spec, tmp_path / "root").ok


def test_it_is_done_once_and_again_when_the_files_change(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [0, 1], "test": [0, 1]})
    spec, index = taken_out(source, tmp_path / "root")
    before = index.path(index.items[0]).stat().st_ino
    ensure_fetched(spec, tmp_path / "root")
    assert index.path(index.items[0]).stat().st_ino == before
    hugging_face(tmp_path / "more", {"train": [0, 1, 1], "test": [0, 1]})
    (tmp_path / "more/data/train-00000-of-00001.parquet").replace(
        source / "data/train-00000-of-00001.parquet"
    )
    ensure_fetched(spec, tmp_path / "root")
    assert sizes(read_dataset(spec, tmp_path / "root")) == (3, 0, 2)


def test_other_options_take_the_images_out_anew(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [0, 1] * 10})
    assert sizes(taken_out(source, tmp_path / "root")[1]) == (10, 4, 6)
    assert sizes(taken_out(source, tmp_path / "root", fractions={"test": 1.0})[1]) == (0, 0, 20)


def test_two_sources_of_one_name_do_not_share_a_folder(tmp_path: Path) -> None:
    one = hugging_face(tmp_path / "one" / "pets", {"train": [0, 1], "test": [0, 1]})
    two = hugging_face(tmp_path / "two" / "pets", {"train": [0, 1, 1], "test": [0, 1]})
    assert len({taken_out(each, tmp_path / "root")[0].folder for each in (one, two)}) == 2


def test_one_split_called_train_is_split_automatically(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [0, 1] * 10})
    assert sizes(taken_out(source, tmp_path / "root")[1]) == (10, 4, 6)


def test_other_columns_can_be_named(tmp_path: Path) -> None:
    rows = {"picture": [png(n) for n in range(4)], "species": ["owl", "owl", "jay", "jay"]}
    pq.write_table(pa.table(rows), tmp_path / "birds.parquet")
    columns = {"image": "picture", "label": "species"}
    _, index = taken_out(tmp_path / "birds.parquet", tmp_path / "root", columns=columns)
    assert index.class_names == ("jay", "owl")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ({"image": [b"text", png(1)], "label": [0, 1]}, "no image of a known format"),
        ({"image": [None, png(1)], "label": [0, 1]}, "row 0: no image bytes"),
        ({"image": [png(0), png(1)], "label": [None, 1]}, "row 0: no label"),
        ({"image": [png(0), png(1)], "name": ["a", "b"]}, "no column for the label"),
        (
            {"image": [png(0), png(1)], "label": [0, 1], "class_name": ["a", "b"], "split": ["x", "y"]},
            "split 'x'",
        ),
        (
            {"image": [png(0), png(1)], "label": [0, 0], "class_name": ["a", "b"]},
            "label 0 is both 'a' and 'b'",
        ),
        ({"image": [png(0), png(1)], "label": [0, 0]}, "only 1 class"),
    ],
)
def test_parquet_files_that_are_no_dataset_leave_nothing_behind(
    rows: dict[str, list[Any]], complaint: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(rows), tmp_path / "birds.parquet")
    with pytest.raises(AtlasError, match=complaint):
        taken_out(tmp_path / "birds.parquet", tmp_path / "root")
    assert [p.name for p in (tmp_path / "root").iterdir() if not p.name.startswith(".")] == []


def test_a_label_beyond_the_declared_names_is_one_error(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [0, 1, 2]})
    with pytest.raises(AtlasError, match="label 2"):
        taken_out(source, tmp_path / "root")


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [0, 1], "test": [0, 1]})
    spec = DatasetSpec(name="own", layout="hf_parquet", folder="mine", source=Source(parquet=str(source)))
    touch(tmp_path / "root" / "mine", ["precious.jpg"])
    with pytest.raises(AtlasError, match="holds other files"):
        ensure_fetched(spec, tmp_path / "root")
    assert (tmp_path / "root" / "mine" / "precious.jpg").is_file()


def test_a_broken_parquet_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "birds.parquet").write_bytes(b"no parquet")
    with pytest.raises(AtlasError, match="cannot be read"):
        taken_out(tmp_path / "birds.parquet", tmp_path / "root")


def test_a_folder_without_parquet_files_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AtlasError, match="holds no Parquet files"):
        taken_out(tmp_path / "empty", tmp_path / "root")

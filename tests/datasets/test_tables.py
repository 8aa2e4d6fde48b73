"""Tables as they come from spreadsheets, other machines and other programs, read where their meaning is plain."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.items import SPLITS
from atlas_core.datasets.readers.base import Listing, read_listing
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import jpeg

PATHS = [f"img/{name}/{n}.png" for name in ("robin", "wren") for n in range(3)]
CLASSES = ["robin"] * 3 + ["wren"] * 3
CUT = ["train", "train", "test"] * 2


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    for path in PATHS:
        (tmp_path / "birds" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "birds" / path).write_bytes(jpeg())
    return tmp_path / "birds"


def csv_text(
    paths: Sequence[str] = PATHS, header: Sequence[str] = ("path", "class", "split"), mark: str = ","
) -> str:
    rows = [header, *zip(paths, CLASSES, CUT, strict=True)]
    return "".join(mark.join(row[: len(header)]) + "\n" for row in rows)


def read(table: Path, **options: Any) -> Listing:
    spec = dataset_spec(f"table:{table}")
    spec = spec.model_copy(update={"options": {**spec.options, **options}})
    return read_listing(spec, Path(spec.folder))


def written(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def check(listing: Listing) -> None:
    assert [item.path for item in listing.items] == PATHS
    assert [item.class_name for item in listing.items] == CLASSES
    assert [item.split for item in listing.items] == CUT


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.txt"])
def test_any_usual_separator_is_found(mark: str, name: str, birds: Path) -> None:
    check(read(written(birds, csv_text(mark=mark), name)))


def test_a_separator_that_also_stands_in_names_is_not_taken(birds: Path) -> None:
    text = csv_text(mark=";").replace("robin;", "robin, red;").replace("path;class", "path, of each;class")
    listing = read(written(birds, text), columns={"path": "path, of each"})
    assert listing.class_names == ("robin, red", "wren")


@pytest.mark.parametrize(
    "header",
    [("Path", "Class", "Split"), (" PATH ", "Label", "SPLIT"), ("Image Path", "class-name", "split")],
)
def test_column_names_are_known_in_any_case(header: tuple[str, ...], birds: Path) -> None:
    check(read(written(birds, csv_text(header=header))))


def test_columns_that_are_named_are_found_in_any_case(birds: Path) -> None:
    table = written(birds, csv_text(header=("Photo", "Species", "Fold")))
    check(read(table, columns={"path": "photo", "class": "species", "split": "fold"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda path, birds: str(birds / path),
        lambda path, birds: path.replace("/", "\\"),
        lambda path, birds: "/mnt/old disk/birds/" + path,
        lambda path, birds: "work/birds/" + path,
        lambda path, birds: "C:\\Users\\me\\birds\\" + path.replace("/", "\\"),
        lambda path, birds: "./" + path,
        lambda path, birds: path.removesuffix(".png"),
        lambda path, birds: "D:/birds/" + path.removesuffix(".png"),
    ],
    ids=[
        "absolute",
        "backslashes",
        "other machine",
        "leading folders",
        "Windows",
        "dot",
        "no ending",
        "both",
    ],
)
def test_paths_of_another_form_are_read_where_all_lead_to_files(change: Any, birds: Path) -> None:
    check(read(written(birds, csv_text([change(path, birds) for path in PATHS]))))


def test_absolute_paths_through_a_link_are_inside(birds: Path) -> None:
    (birds.parent / "link").symlink_to(birds)
    check(read(written(birds, csv_text([str(birds.parent / "link" / path) for path in PATHS]))))
    text = csv_text([str(birds.resolve() / path) for path in PATHS])
    check(read(written(birds.parent / "link", text)))


def test_bare_names_are_found_in_the_one_folder_that_has_them(birds: Path) -> None:
    for number in range(6):
        (birds / "photos").mkdir(exist_ok=True)
        (birds / "photos" / f"{number}.jpg").write_bytes(jpeg())
    listing = read(written(birds, csv_text([f"{n}.jpg" for n in range(6)])))
    assert [item.path for item in listing.items] == [f"photos/{n}.jpg" for n in range(6)]
    assert "paths in photos/" in listing.reading.why


def test_bare_names_that_two_folders_have_are_refused(birds: Path) -> None:
    for folder in ("large", "small"):
        (birds / folder).mkdir()
        for number in range(6):
            (birds / folder / f"{number}.jpg").write_bytes(jpeg())
    table = written(birds, csv_text([f"{n}.jpg" for n in range(6)]))
    with pytest.raises(AtlasError, match=r"has two readings.*image_folder: large.*image_folder: small"):
        read(table)
    spec = dataset_spec(f"table:{table}").model_copy(update={"image_folder": "small"})
    assert read_listing(spec, birds).items[0].path == "small/0.jpg"


def test_a_name_without_ending_that_two_files_have_is_missing(birds: Path) -> None:
    (birds / "img/robin/0.jpg").write_bytes(jpeg())
    with pytest.raises(AtlasError, match="6 of 6 images are missing"):
        read(written(birds, csv_text([path.removesuffix(".png") for path in PATHS])))


def test_the_advice_about_missing_images_can_be_followed(birds: Path) -> None:
    table = written(birds, csv_text(["none.png", *PATHS[1:]]))
    with pytest.raises(AtlasError, match="1 of 6 images are missing") as refused:
        read(table)
    assert f"`atlas datasets verify table:{table}`" in refused.value.fix
    assert dataset_spec(f"table:{table}").options["file"] == "labels.csv"


def test_images_outside_of_the_tables_folder_are_described_from_above(birds: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    for form in ("../birds/{}", str(birds) + "/{}"):
        table = written(tmp_path / "lists", csv_text([form.format(path) for path in PATHS]))
        with pytest.raises(AtlasError, match="leaves its folder") as refused:
            read(table)
        described = re.search(r"\{name: .*?\}\}", refused.value.fix)
        assert described is not None
        (tmp_path / "own.yaml").write_text(described.group())
        spec = dataset_spec(str(tmp_path / "own.yaml"))
        listing = read_listing(spec, Path(spec.folder))
        assert [item.path for item in listing.items] == [f"birds/{path}" for path in PATHS]


def test_a_table_without_a_header_is_told_so(birds: Path) -> None:
    text = csv_text(header=("path", "class")).split("\n", 1)[1]
    with pytest.raises(AtlasError, match="give it a first line with names, such as path,class"):
        read(written(birds, text))
    assert len(read(written(birds, f"path,class\n{text}")).items) == 6


def test_two_columns_of_one_name_are_refused(birds: Path) -> None:
    with pytest.raises(AtlasError, match="two columns called 'class'"):
        read(written(birds, csv_text(header=("path", "class", "class"))))


def test_a_number_and_a_name_for_the_same_classes_give_the_names(birds: Path) -> None:
    number = {"robin": "7", "wren": "2"}
    rows = ["path,label,class_name,split"]
    rows += [f"{p},{number[c]},{c},{s}" for p, c, s in zip(PATHS, CLASSES, CUT, strict=True)]
    check(read(written(birds, "\n".join(rows))))


def test_two_class_columns_that_differ_are_refused_and_the_option_picks_one(birds: Path) -> None:
    rows = ["path,label,category,split"]
    rows += [f"{p},{c},{'ab'[n % 2]},{CUT[n]}" for n, (p, c) in enumerate(zip(PATHS, CLASSES, strict=True))]
    table = written(birds, "\n".join(rows))
    with pytest.raises(AtlasError, match="the class has two readings") as refused:
        read(table)
    offered = re.findall(r"options\.columns: \{class: (\w+)\}", refused.value.expected)
    assert offered == ["label", "category"]
    check(read(table, columns={"class": "label"}))
    assert read(table, columns={"class": "category"}).class_names == ("a", "b")


def test_a_spreadsheets_utf16_text_is_read(birds: Path) -> None:
    (birds / "labels.csv").write_text(csv_text(mark="\t"), encoding="utf-16")
    check(read(birds / "labels.csv"))


def test_an_empty_value_of_a_program_is_no_class(birds: Path) -> None:
    pq.write_table(pa.table({"path": PATHS, "class": [1.0, float("nan"), 2.0] * 2}), birds / "labels.parquet")
    with pytest.raises(AtlasError, match="a row of column 'class' is empty"):
        read(birds / "labels.parquet")


# --- JSON lines, and Hugging Face's "imagefolder" --------------------------------------------------------------


def json_lines(**columns: Sequence[Any]) -> str:
    return "".join(
        json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in zip(*columns.values(), strict=True)
    )


def image_folder(folder: Path, **options: Any) -> Listing:
    spec = DatasetSpec(name="own", layout="image_folder", folder=str(folder), options=options)
    return read_listing(spec, folder)


def counts(listing: Listing) -> tuple[int, ...]:
    return tuple(sum(item.split == split for item in listing.items) for split in SPLITS)


def test_json_lines_are_a_table(birds: Path) -> None:
    check(read(written(birds, json_lines(file_name=PATHS, label=CLASSES, split=CUT), "metadata.jsonl")))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "cannot be read"), ("[1]", "holds no rows"), ("", "holds no rows"), ("3", "holds no rows")],
)
def test_other_json_is_refused(text: str, complaint: str, birds: Path) -> None:
    with pytest.raises(AtlasError, match=complaint):
        read(written(birds, text, "metadata.jsonl"))


def test_boxes_are_no_classes(birds: Path) -> None:
    text = json_lines(file_name=PATHS, label=[{"bbox": [1, 2, 3, 4]}] * 6)
    with pytest.raises(AtlasError, match="holds lists or mappings"):
        read(written(birds, text, "metadata.jsonl"))


def flat(folder: Path, part: str, numbers: range, name: str = "metadata.jsonl") -> None:
    (folder / part).mkdir(parents=True, exist_ok=True)
    files = [f"{n}.png" for n in numbers]
    for file in files:
        (folder / part / file).write_bytes(jpeg())
    labels = [("robin", "wren")[n % 2] for n in numbers]
    if name.endswith(".jsonl"):
        text = json_lines(file_name=files, label=labels)
    else:
        text = "file_name,label\n" + "".join(f"{f},{c}\n" for f, c in zip(files, labels, strict=True))
    (folder / part / name).write_text(text)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_metadata_file_stands_for_class_folders(name: str, tmp_path: Path) -> None:
    flat(tmp_path, ".", range(20), name)
    listing = image_folder(tmp_path)
    assert listing.class_names == ("robin", "wren")
    assert counts(listing) == (10, 4, 6)
    assert name in listing.reading.why


def test_each_split_may_have_a_metadata_file(tmp_path: Path) -> None:
    flat(tmp_path, "train", range(6))
    flat(tmp_path, "test", range(4))
    listing = image_folder(tmp_path)
    assert counts(listing) == (6, 0, 4)
    assert listing.items[0].path == "train/0.png"


def test_a_metadata_file_without_classes_leaves_the_folders_to_speak(birds: Path) -> None:
    (birds / "metadata.jsonl").write_text(json_lines(file_name=PATHS, text=["a bird"] * 6))
    assert image_folder(birds).class_names == ("robin", "wren")


def test_metadata_that_agrees_with_the_folders_changes_nothing(birds: Path) -> None:
    (birds / "metadata.jsonl").write_text(json_lines(file_name=PATHS, label=CLASSES))
    listing = image_folder(birds)
    assert listing.class_names == ("robin", "wren")
    assert len(listing.items) == 6


def test_metadata_that_differs_from_the_folders_is_refused_and_the_option_picks_one(birds: Path) -> None:
    (birds / "metadata.jsonl").write_text(json_lines(file_name=PATHS, label=["male", "female"] * 3))
    with pytest.raises(AtlasError, match="has two readings") as refused:
        image_folder(birds)
    for chosen, expected in (("folders", ("robin", "wren")), ("metadata", ("female", "male"))):
        assert f"`options.classes: {chosen}`" in refused.value.expected
        assert image_folder(birds, classes=chosen).class_names == expected


def test_the_small_tables_that_were_refused(shared_inputs: Path) -> None:
    for name in ("absolute.csv", "backslash.csv", "no-ending.csv"):
        listing = read(shared_inputs / "csv-paths" / name)
        assert listing.class_names == ("robin", "wren")
        assert listing.items[0].path == "img/robin/0.png"

"""Which columns and files of a Parquet dataset mean what: the label's own names, splits inside the dataset alone."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.datasets.items import SPLITS
from atlas_core.datasets.readers.base import Listing, read_listing
from atlas_core.errors import AtlasError


def picture(shade: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (shade % 256, 0, 0)).save(stream, kind)
    return stream.getvalue()


def class_label(*names: str) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


def write(
    path: Path, columns: Mapping[str, Sequence[Any]], features: Mapping[str, Any] | None = None
) -> None:
    """A Parquet file with these columns beside an image in each row."""
    rows = len(next(iter(columns.values())))
    images = [{"bytes": picture(n), "path": None} for n in range(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"image": images, **columns} if "image" not in columns else dict(columns))
    if features is not None:
        declared = {"image": {"_type": "Image"}, **features}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": declared}})})
    pq.write_table(table, path)


def taken_out(source: Path, **options: Any) -> Listing:
    spec = dataset_spec(f"hf_parquet:{source}").model_copy(update={"options": options})
    root = source.parent / "root"
    return read_listing(spec, ensure_fetched(spec, root))


def counts(listing: Listing) -> tuple[int, ...]:
    return tuple(sum(item.split == split for item in listing.items) for split in SPLITS)


LABELS = {"background": [0, 1, 0, 1], "label": [2, 0, 1, 2]}
ANIMALS = class_label("cat", "dog", "owl")
PLACES = class_label("indoor", "outdoor")


@pytest.mark.parametrize("background_first", [True, False])
def test_the_label_gets_the_names_of_its_own_column(background_first: bool, tmp_path: Path) -> None:
    order = ("background", "label") if background_first else ("label", "background")
    features = {name: {"label": ANIMALS, "background": PLACES}[name] for name in order}
    write(tmp_path / "two" / "data.parquet", {name: LABELS[name] for name in order}, features)
    listing = taken_out(tmp_path / "two")
    assert listing.class_names == ("cat", "dog", "owl")
    assert [item.class_name for item in listing.items if item.path.endswith("0.png")] == ["owl"]
    assert "names declared for column 'label'" in listing.reading.why


def test_a_label_without_names_of_its_own_gets_none_of_another_column(tmp_path: Path) -> None:
    features = {"background": PLACES, "label": {"dtype": "int64", "_type": "Value"}}
    write(tmp_path / "two" / "data.parquet", LABELS, features)
    listing = taken_out(tmp_path / "two")
    assert listing.class_names == ("0", "1", "2")
    assert "the labels are their own names" in listing.reading.why


def test_the_only_declared_label_is_the_label(tmp_path: Path) -> None:
    write(
        tmp_path / "one" / "data.parquet",
        {"species": [0, 1, 2, 0], "page": [1, 2, 3, 4]},
        {"species": ANIMALS},
    )
    assert taken_out(tmp_path / "one").class_names == ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("columns", "features"),
    [
        ({"fine_label": [0, 1], "coarse_label": [1, 0]}, {"fine_label": ANIMALS, "coarse_label": PLACES}),
        ({"label": [0, 1], "class": [1, 0]}, None),
    ],
)
def test_two_columns_that_may_be_the_label_are_refused_and_the_option_picks_one(
    columns: Mapping[str, Sequence[int]], features: Mapping[str, Any] | None, tmp_path: Path
) -> None:
    write(tmp_path / "two" / "data.parquet", columns, features)
    with pytest.raises(AtlasError, match="which column is the label has two readings") as refused:
        taken_out(tmp_path / "two")
    offered = re.findall(r"options\.columns: \{label: (\w+)\}", refused.value.expected)
    assert offered == list(columns)
    for name in offered:
        assert len(taken_out(tmp_path / "two", columns={"label": name}).class_names) >= 2


# --- splits --------------------------------------------------------------------------------------------------------

FOUR = {"label": [0, 1, 0, 1]}


@pytest.mark.parametrize("folder", ["test_project", "test", "train", "my-validation"])
def test_the_name_of_a_folder_around_the_dataset_is_no_split(folder: str, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write(tmp_path / folder / "data" / f"{split}-00000-of-00001.parquet", FOUR)
    assert counts(taken_out(tmp_path / folder)) == (4, 0, 4)


def test_a_folder_that_only_holds_such_a_word_is_no_split(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        write(tmp_path / "own" / "test_project" / f"{split}-00000-of-00001.parquet", FOUR)
    assert counts(taken_out(tmp_path / "own")) == (4, 0, 4), (
        "as `validation` is the test set where there is none"
    )


@pytest.mark.parametrize(
    "form", ["data/{}/0000.parquet", "{}/part-0.parquet", "{}.parquet", "my_{}_file.parquet"]
)
def test_splits_are_names_of_files_and_folders_inside(form: str, tmp_path: Path) -> None:
    for split in ("train", "Test"):
        write(tmp_path / "own" / form.format(split), FOUR)
    assert counts(taken_out(tmp_path / "own")) == (4, 0, 4)


def test_a_files_name_goes_before_its_folders(tmp_path: Path) -> None:
    write(tmp_path / "own" / "test" / "train-0.parquet", FOUR)
    write(tmp_path / "own" / "test" / "test-0.parquet", FOUR)
    assert counts(taken_out(tmp_path / "own")) == (4, 0, 4)


def test_a_file_of_two_splits_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "own" / "train_test.parquet", FOUR)
    with pytest.raises(AtlasError, match="holds 2 splits"):
        taken_out(tmp_path / "own")


def test_two_versions_of_a_dataset_are_refused_and_the_advice_picks_one(tmp_path: Path) -> None:
    for version in ("cropped", "full"):
        for split in ("train", "test"):
            write(tmp_path / "own" / version / f"{split}-0.parquet", FOUR)
    with pytest.raises(AtlasError, match="has three readings") as refused:
        taken_out(tmp_path / "own")
    for chosen, expected in (("cropped", (4, 0, 4)), ("full", (4, 0, 4)), ("all", (8, 0, 8))):
        assert f"`options.configuration: {chosen}`" in refused.value.expected
        assert counts(taken_out(tmp_path / "own", configuration=chosen)) == expected
    named = re.search(r"hf_parquet:(\S+?)\.?$", refused.value.fix)
    assert named is not None
    assert counts(taken_out(Path(named.group(1)))) == (4, 0, 4)


# --- the rest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM"])
def test_images_of_every_usual_kind_are_taken_out(kind: str, tmp_path: Path) -> None:
    images = [picture(n, kind) for n in range(4)]
    write(tmp_path / "own" / "data.parquet", {"image": images, "label": ["cat", "dog"] * 2})
    listing = taken_out(tmp_path / "own")
    assert len(listing.items) == 4
    for item in listing.items:
        with Image.open(
            tmp_path / "root" / next((tmp_path / "root").glob("own-*")).name / item.path
        ) as image:
            assert image.size == (16, 16)


def test_class_names_can_be_given(tmp_path: Path) -> None:
    write(tmp_path / "own" / "data.parquet", FOUR)
    assert taken_out(tmp_path / "own", class_names={"0": "cat", "1": "dog"}).class_names == ("cat", "dog")


def test_two_declared_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "own" / "data.parquet", FOUR, {"label": class_label("cat", "cat")})
    with pytest.raises(AtlasError, match="the same name 'cat'"):
        taken_out(tmp_path / "own")


def test_what_an_earlier_version_took_out_is_moved_away_and_taken_out_anew(tmp_path: Path) -> None:
    """That version kept no list of its files, so they may be anybody's."""
    write(tmp_path / "own" / "data.parquet", LABELS, {"background": PLACES, "label": ANIMALS})
    taken_out(tmp_path / "own")
    index = next((tmp_path / "root").glob("own-*/index.json"))
    written = json.loads(index.read_text())
    del written["made_from"]["reading"]
    index.write_text(json.dumps({**written, "class_names": ["indoor", "outdoor", "?"]}))
    index.with_name(".atlas-files.json").unlink()
    with pytest.raises(AtlasError, match=f"move {index.parent} away"):
        taken_out(tmp_path / "own")
    index.parent.rename(tmp_path / "away")  # the message's advice
    assert taken_out(tmp_path / "own").class_names == ("cat", "dog", "owl")

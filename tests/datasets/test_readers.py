"""The readers of the published layouts: the order they keep, and what they refuse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.items import SPLITS, DatasetIndex
from atlas_core.datasets.paths import check_relative, listing_fingerprint, missing_files
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import CLASSNAMES, jpeg


def touch(folder: Path, paths: Iterable[str]) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(jpeg())


def with_split(root: Path, content: Any, images: Iterable[str] = ()) -> DatasetSpec:
    """DTD with the given split file and images."""
    spec = dataset_spec("dtd")
    touch(root / "dtd" / "images", images)
    (root / "dtd" / "images").mkdir(parents=True, exist_ok=True)
    (root / "dtd" / str(spec.split_file)).write_text(json.dumps(content))
    return spec


GOOD = {
    "train": [["b/1.jpg", 1, "b"], ["a/1.jpg", 0, "a"]],
    "val": [["a/2.jpg", 0, "a"]],
    "test": [["b/2.jpg", 1, "b"]],
}
PATHS = ["b/1.jpg", "a/1.jpg", "a/2.jpg", "b/2.jpg"]


# --- split files -------------------------------------------------------------------------------------------


def test_items_keep_the_order_of_the_split_file(tmp_path: Path) -> None:
    index = read_dataset(with_split(tmp_path, GOOD, PATHS), tmp_path)
    assert [item.path for item in index.items] == [f"images/{path}" for path in PATHS]
    assert [item.split for item in index.items] == ["train", "train", "val", "test"]
    assert index.class_names == ("a", "b")


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg", "", "C:/b.jpg", "a/\0.jpg"]
)
def test_a_path_that_leaves_the_folder_is_refused(path: str, tmp_path: Path) -> None:
    spec = with_split(tmp_path, {**GOOD, "train": [[path, 0, "a"], ["b/1.jpg", 1, "b"]]}, PATHS)
    with pytest.raises(AtlasError, match="leaves its folder"):
        read_dataset(spec, tmp_path)


@given(st.text(st.sampled_from("a./\\ \0:"), max_size=8))
def test_an_accepted_path_is_below_its_folder_whatever_it_is(path: str) -> None:
    try:
        check_relative(path, "a path")
    except AtlasError:
        return
    assert os.path.normpath(os.path.join("/base", path)).startswith("/base")


@pytest.mark.parametrize("part", SPLITS)
def test_an_image_that_is_listed_twice_is_named(part: str, tmp_path: Path) -> None:
    spec = with_split(
        tmp_path, {**GOOD, part: [*GOOD[part], ["b/1.jpg", 1, "b"], ["b/1.jpg", 1, "b"]]}, PATHS
    )
    with pytest.raises(AtlasError, match=r"lists \d image\(s\) twice: images/b/1\.jpg"):
        read_dataset(spec, tmp_path)


def test_missing_images_are_counted_and_named(tmp_path: Path) -> None:
    spec = with_split(tmp_path, GOOD, PATHS[:2])
    with pytest.raises(AtlasError) as caught:
        read_dataset(spec, tmp_path)
    assert "2 of 4 images are missing" in str(caught.value)
    assert "images/a/2.jpg, images/b/2.jpg" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "another form"),
        ({"train": [], "val": []}, "another form"),
        ({**GOOD, "train": "b/1.jpg"}, "another form"),
        ({**GOOD, "train": [["b/1.jpg", "1", "b"]]}, r"entry \['b/1.jpg', '1', 'b'\] of train"),
        ({**GOOD, "train": [["b/1.jpg", True, "b"]]}, "entry"),
        ({**GOOD, "train": [["b/1.jpg", 1]]}, "entry"),
        ({**GOOD, "train": [["b/1.jpg", 1, "c"]]}, "label 1 is both 'c' and 'b'"),
        ({"train": [["b/1.jpg", 2, "b"]], "val": [], "test": [["a/1.jpg", 0, "a"]]}, "break the numbering"),
        ({"train": [["b/1.jpg", -1, "b"]], "val": [], "test": [["a/1.jpg", 0, "a"]]}, "break the numbering"),
        ({"train": [["a/1.jpg", 0, "a"]], "val": [], "test": []}, "only 1 class"),
        ({"train": [], "val": [], "test": []}, "has no images"),
    ],
)
def test_a_split_file_that_cannot_be_right_is_refused(content: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=complaint):
        read_dataset(with_split(tmp_path, content, PATHS), tmp_path)


def test_a_missing_or_damaged_split_file_is_never_replaced_by_a_random_one(tmp_path: Path) -> None:
    spec = with_split(tmp_path, GOOD, PATHS)
    split_file = tmp_path / "dtd" / str(spec.split_file)
    split_file.write_text(split_file.read_text()[:40])
    with pytest.raises(AtlasError, match="is damaged"):
        read_dataset(spec, tmp_path)
    split_file.unlink()
    with pytest.raises(AtlasError, match=r"https://drive\.google\.com/file/d/1u3_QfB467"):
        read_dataset(spec, tmp_path)
    assert not split_file.exists()


def test_a_dataset_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="atlas datasets fetch caltech101"):
        read_dataset(dataset_spec("caltech101"), tmp_path)


@pytest.mark.parametrize(
    "name",
    ["café au lait", "東京タワー", "O'Brien's \"best\"", " spaced ", "a,b;c", "emoji 🦊", "%2e%2e", "$HOME"],
)
def test_names_with_any_characters_are_kept_as_they_are(name: str, tmp_path: Path) -> None:
    path = f"{name}/{name} 1.jpg"
    content = {"train": [[path, 0, name]], "val": [], "test": [["b/2.jpg", 1, "b"]]}
    index = read_dataset(with_split(tmp_path, content, [path, "b/2.jpg"]), tmp_path)
    assert index.items[0].path == f"images/{path}"
    assert index.class_names[0] == name
    assert index.path(index.items[0]).is_file()


# --- FGVC-Aircraft -----------------------------------------------------------------------------------------


def aircraft(root: Path, **lists: str) -> DatasetSpec:
    texts = {
        "variants": "707-320\nF-16A/B\n",
        "images_variant_train": "0000002 F-16A/B\n0000001 707-320\n",
        "images_variant_val": "0000003 707-320\n",
        "images_variant_test": "0000004 F-16A/B\n",
        **lists,
    }
    touch(root / "fgvc_aircraft" / "images", [f"000000{n}.jpg" for n in range(1, 5)])
    for name, text in texts.items():
        (root / "fgvc_aircraft" / f"{name}.txt").write_text(text)
    return dataset_spec("fgvc_aircraft")


def test_aircraft_follows_its_txt_files(tmp_path: Path) -> None:
    index = read_dataset(aircraft(tmp_path), tmp_path)
    assert index.class_names == ("707-320", "F-16A/B")
    assert [(item.path, item.label, item.split) for item in index.items] == [
        ("images/0000002.jpg", 1, "train"),
        ("images/0000001.jpg", 0, "train"),
        ("images/0000003.jpg", 0, "val"),
        ("images/0000004.jpg", 1, "test"),
    ]


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        ({"images_variant_val": "0000003 747-100\n"}, "'0000003 747-100'"),
        ({"images_variant_val": "../../0000003 707-320\n"}, "leaves its folder"),
        ({"images_variant_val": "0000001 707-320\n"}, "twice"),
        ({"images_variant_val": "0000009 707-320\n"}, "missing"),
    ],
)
def test_a_wrong_line_of_aircraft_is_named(lists: dict[str, str], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=complaint):
        read_dataset(aircraft(tmp_path, **lists), tmp_path)


def test_an_aircraft_list_that_is_missing_is_named(tmp_path: Path) -> None:
    spec = aircraft(tmp_path)
    (tmp_path / "fgvc_aircraft" / "images_variant_test.txt").unlink()
    with pytest.raises(AtlasError, match=r"has no images_variant_test\.txt"):
        read_dataset(spec, tmp_path)


# --- ImageNet and its variants -------------------------------------------------------------------------------

WNIDS = ("n01440764", "n01443537", "n01484850", "n01491361")


def imagenet(root: Path, train: Iterable[str] = WNIDS, val: Iterable[str] = WNIDS) -> DatasetSpec:
    touch(root / "imagenet/images/train", [f"{wnid}/{wnid}_{n}.JPEG" for wnid in train for n in (10, 2)])
    touch(root / "imagenet/images/val", [f"{wnid}/ILSVRC2012_val_1.JPEG" for wnid in val])
    (root / "imagenet/classnames.txt").write_bytes(CLASSNAMES)
    return dataset_spec("imagenet")


def variant(name: str, root: Path, folders: Iterable[str], names: bytes | None = CLASSNAMES) -> DatasetIndex:
    spec = dataset_spec(name)
    touch(spec.path(root) / spec.image_folder, [f"{folder}/{n}.jpg" for folder in folders for n in range(2)])
    if names is not None:
        (spec.path(root) / "classnames.txt").write_bytes(names)
    return read_dataset(spec, root)


def test_imagenet_labels_follow_the_sorted_wnids_and_its_validation_images_are_the_test_set(
    tmp_path: Path,
) -> None:
    index = read_dataset(imagenet(tmp_path), tmp_path)
    assert index.class_names == ("tench", "goldfish", "great white shark", "orca")
    assert index.class_ids == tuple(WNIDS)
    assert [len(index.positions(split)) for split in SPLITS] == [8, 0, 4]
    assert index.items[0].path == "images/train/n01440764/n01440764_10.JPEG"
    assert index.items[-1] == type(index.items[0])(
        "images/val/n01491361/ILSVRC2012_val_1.JPEG", 3, "orca", "test"
    )


def test_imagenet_with_a_class_in_one_part_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="one of train and val only: n01491361"):
        read_dataset(imagenet(tmp_path, val=WNIDS[:3]), tmp_path)


def test_imagenet_with_its_validation_images_in_one_heap_is_explained(tmp_path: Path) -> None:
    spec = imagenet(tmp_path, val=())
    touch(tmp_path / "imagenet/images/val", ["ILSVRC2012_val_1.JPEG"])
    with pytest.raises(AtlasError, match="sorted into WNID folders"):
        read_dataset(spec, tmp_path)


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_a_variant_with_some_classes_relabels_its_sorted_folders(name: str, tmp_path: Path) -> None:
    index = variant(name, tmp_path, [WNIDS[3], WNIDS[1]])
    assert index.class_names == ("goldfish", "orca")
    assert index.class_ids == (WNIDS[1], WNIDS[3])
    assert [item.label for item in index.items] == [0, 0, 1, 1]
    assert {item.split for item in index.items} == {"test"}


def test_folder_i_of_imagenetv2_is_line_i_of_the_class_names(tmp_path: Path) -> None:
    # Sorted as text the folders would be 0, 1, 10, 11, 2, …: every label but two would be wrong.
    lines = b"".join(b"n%08d name %d\n" % (n, n) for n in range(12))
    index = variant("imagenetv2", tmp_path, [str(n) for n in range(12)], lines)
    assert index.class_names == tuple(f"name {n}" for n in range(12))
    assert index.class_ids == tuple(f"n{n:08d}" for n in range(12))
    assert all(item.path.split("/")[1] == str(item.label) for item in index.items)


def test_imagenetv2_with_a_folder_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="class folders missing: 2"):
        variant("imagenetv2", tmp_path, ["0", "1", "3"])


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (b"n01443537 goldfish\nn01440764 tench\n", "is not sorted"),
        (b"n01440764 tench\nn01440764 fish\n", "line 2"),
        (b"n01440764\nn01443537 goldfish\n", "line 1"),
        (b"n01440764 tench\n", "without a class name: n01443537"),
        (None, "has no classnames.txt"),
    ],
)
def test_class_names_that_would_mix_up_classes_are_refused(
    names: bytes | None, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(AtlasError, match=complaint):
        variant("imagenet_a", tmp_path, WNIDS[:2], names)


# --- listings ------------------------------------------------------------------------------------------------


CHANGES: list[Callable[[Path], object]] = [
    lambda folder: (folder / "b/3.jpg").write_bytes(b"new"),
    lambda folder: (folder / "a/1.jpg").unlink(),
    lambda folder: (folder / "a/1.jpg").write_bytes(b"changed"),
    lambda folder: (folder / "a/1.jpg").rename(folder / "a/9.jpg"),
    lambda folder: os.utime(folder / "a/1.jpg", ns=(1, 1)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_of_a_folder_shows_every_change(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    touch(tmp_path, PATHS)
    before = listing_fingerprint(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"hidden files do not count")
    assert listing_fingerprint(tmp_path) == before
    change(tmp_path)
    assert listing_fingerprint(tmp_path) != before


def test_an_empty_class_folder_changes_the_listing_and_a_hidden_one_does_not(tmp_path: Path) -> None:
    touch(tmp_path, PATHS)
    before = listing_fingerprint(tmp_path)
    (tmp_path / ".thumbnails").mkdir()
    assert listing_fingerprint(tmp_path) == before
    (tmp_path / "c").mkdir()
    with_one = listing_fingerprint(tmp_path)
    assert with_one != before
    (tmp_path / "c").rename(tmp_path / "d")
    assert listing_fingerprint(tmp_path) not in (before, with_one)
    (tmp_path / "d").rmdir()
    assert listing_fingerprint(tmp_path) == before


def test_a_link_that_leads_round_in_a_circle_ends(tmp_path: Path) -> None:
    touch(tmp_path, PATHS)
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert listing_fingerprint(tmp_path)


def test_a_folder_in_place_of_an_image_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a/1.jpg").mkdir(parents=True)
    assert missing_files(tmp_path, ["a/1.jpg", "b/1.jpg", "a/1.jpg/x.jpg"]) == [
        "a/1.jpg",
        "b/1.jpg",
        "a/1.jpg/x.jpg",
    ]

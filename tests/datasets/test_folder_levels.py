"""What the levels of folders mean: one reading is taken, two are refused, and the option in the error picks one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.paths import IMAGE_ENDINGS
from atlas_core.datasets.readers.base import Listing, read_listing
from atlas_core.errors import AtlasError
from atlas_core.features.images import decode_image
from tests.datasets.miniatures import jpeg

COLOURS = ("blue", "red")


def touch(folder: Path, paths: Sequence[str]) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(jpeg())


def spec_of(folder: Path, **options: Any) -> DatasetSpec:
    return DatasetSpec(name="own", layout="image_folder", folder=str(folder), options=options)


def read(folder: Path, **options: Any) -> Listing:
    return read_listing(spec_of(folder, **options), folder)


def counts(listing: Listing) -> dict[str, int]:
    splits = [item.split for item in listing.items]
    return {split: splits.count(split) for split in dict.fromkeys(splits)}


def below(tops: Sequence[str], classes: Sequence[str] = COLOURS, each: int = 2) -> list[str]:
    return [f"{top}/{name}/{n}.jpg" for top in tops for name in classes for n in range(each)]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("train2017", "test2017"),
        ("trainset", "testset"),
        ("train-images", "test-images"),
    ],
)
def test_split_folders_are_known_in_any_spelling(train: str, test: str, tmp_path: Path) -> None:
    touch(tmp_path, below([train]) + below([test], each=1))
    listing = read(tmp_path)
    assert listing.class_names == COLOURS
    assert counts(listing) == {"train": 4, "test": 2}


def test_split_folders_may_lie_below_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, below(COLOURS, ("train", "test")))
    listing = read(tmp_path)
    assert listing.class_names == COLOURS
    assert counts(listing) == {"train": 4, "test": 4}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    touch(tmp_path, ["train/1.jpg", "train/2.jpg", "bus/1.jpg", "bus/2.jpg"])
    assert read(tmp_path).class_names == ("bus", "train")


@pytest.mark.parametrize("wrapper", ["images", "PetImages", "a/b"])
def test_a_lone_folder_above_the_classes_is_looked_through(wrapper: str, tmp_path: Path) -> None:
    touch(tmp_path, below([wrapper]))
    assert read(tmp_path).class_names == COLOURS
    touch(tmp_path / "split", below([f"{wrapper}/Train", f"{wrapper}/Test"]))
    assert counts(read(tmp_path / "split")) == {"train": 4, "test": 4}


def test_a_lone_folder_inside_each_class_or_split_is_looked_through(tmp_path: Path) -> None:
    touch(tmp_path / "inside", below(COLOURS, ["images"]))
    assert read(tmp_path / "inside").class_names == COLOURS
    touch(tmp_path / "splits", below(["train/images", "test/images"]))
    assert read(tmp_path / "splits").class_names == COLOURS


AMBIGUOUS = {
    "domains above classes": (below(["photo", "sketch"]), "[group, class]", COLOURS, "[class]"),
    "the letters of SUN397": (
        ["a/abbey/1.jpg", "a/alley/1.jpg", "b/bakery/1.jpg", "b/bakery/2.jpg"],
        "[group, class]",
        ("abbey", "alley", "bakery"),
        "[class]",
    ),
    "one class a letter": (["a/abbey/1.jpg", "b/bakery/1.jpg"], "[group, class]", ("abbey", "bakery"), "[class]"),
    "indoor and outdoor": (
        ["abbey/1.jpg", "hangar/indoor/1.jpg", "hangar/outdoor/1.jpg"],
        "[class, class]",
        ("abbey", "hangar indoor", "hangar outdoor"),
        "[class]",
    ),
    "domains with a folder of images": (
        below(["amazon/images", "dslr/images"]),
        "[group, group, class]",
        COLOURS,
        "[class]",
    ),
    "a third folder beside train and test": (
        [*below(["train", "test"]), "unlabeled/1.jpg"],
        "[split, class]",
        COLOURS,
        "[class]",
    ),
    "a third folder of folders": (below(["Train", "Test", "extra"]), "[split, class]", COLOURS, "[class]"),
    "a test set without labels": ([*below(["train"]), "test/1.jpg"], "[split, class]", COLOURS, "[class]"),
    "domains, splits and classes": (
        below(["photo/train", "photo/test", "sketch/train", "sketch/test"]),
        "[group, split, class]",
        COLOURS,
        "[class]",
    ),
    "groups below splits": (
        below(["train/animals", "test/animals", "train/tools"]),
        "[split, group, class]",
        COLOURS,
        "[split, class]",
    ),
    "splits of an unknown name": (below(["seg_train", "seg_test"]), "[group, class]", COLOURS, "[class]"),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_folders_with_two_readings_are_refused_and_the_advice_picks_one(name: str, tmp_path: Path) -> None:
    paths, levels, classes, other = AMBIGUOUS[name]
    touch(tmp_path / "own", paths)
    with pytest.raises(AtlasError, match=r"has (two|three|four) readings") as refused:
        read(tmp_path / "own")
    assert f"`options.levels: {levels}`" in refused.value.expected
    assert f"`options.levels: {other}`" in refused.value.expected
    described = re.search(r"\{name: .*?\}\}", refused.value.fix)
    assert described is not None
    for chosen, expected in ((levels, classes), (other, None)):
        text = re.sub(r"levels: \[[^]]*\]", f"levels: {chosen}", described.group())
        (tmp_path / "own.yaml").write_text(text)
        listing = read_listing(dataset_spec(str(tmp_path / "own.yaml")), tmp_path / "own")
        assert expected is None or listing.class_names == expected
        assert "as options.levels says" in listing.reading.why


def test_splits_of_any_name_can_be_given(tmp_path: Path) -> None:
    touch(tmp_path, [*below(["seg_train", "seg_test"]), "seg_pred/1.jpg"])
    splits = {"seg_train": "train", "seg_test": "test"}
    with pytest.raises(AtlasError, match="two readings"):
        read(tmp_path, splits=splits)
    listing = read(tmp_path, splits=splits, levels=["split", "class"])
    assert counts(listing) == {"train": 4, "test": 4}
    assert [(each.what, each.count) for each in listing.reading.ignored] == [
        ("images outside of the class folders", 1)
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"levels": ["class", "colour"]}, "list of split, group and class"),
        ({"levels": "class"}, "list of split, group and class"),
        ({"levels": ["split", "group"]}, "list of split, group and class"),
        ({"levels": ["split", "split", "class"]}, "list of split, group and class"),
        ({"splits": {"seg_train": "training"}}, "train, val or test"),
        ({"splits": ["seg_train"]}, "train, val or test"),
        ({"level": ["class"]}, "did you mean.*levels"),
        ({"fraction": {"train": 1.0}}, "did you mean.*fractions"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    touch(tmp_path, below(["train", "test"]))
    with pytest.raises(AtlasError, match=f"(?i){complaint}"):
        read(tmp_path, **options)


def test_split_folders_that_hold_images_and_no_classes_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["train/1.jpg", "test/2.jpg"])
    with pytest.raises(AtlasError, match=r"hold images and no class folders.*levels: \[class\]"):
        read(tmp_path)
    assert read(tmp_path, levels=["class"]).class_names == ("test", "train")


def test_a_third_folder_without_images_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path, below(["train", "test"]))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "notes.txt").write_text("how they were taken")
    listing = read(tmp_path)
    assert listing.class_names == COLOURS
    assert [(each.what, each.count, each.odd) for each in listing.reading.ignored] == [
        ("files beside the images (1 .txt)", 1, False)
    ]


# --- what was left out is said ---------------------------------------------------------------------------------


def test_a_dead_link_to_a_class_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/{n}.jpg" for name in COLOURS for n in range(2)])
    (tmp_path / "yellow").symlink_to(tmp_path / "unmounted" / "yellow")
    with pytest.raises(AtlasError, match=r"links to folders that are not there: yellow\."):
        read(tmp_path)


@pytest.mark.parametrize("link", ["val", "train/yellow"])
def test_a_dead_link_to_a_split_or_a_class_of_it_is_an_error(link: str, tmp_path: Path) -> None:
    touch(tmp_path, below(["train", "test"]))
    (tmp_path / link).symlink_to(tmp_path / "unmounted")
    with pytest.raises(AtlasError, match=f"links to folders that are not there: {link}"):
        read(tmp_path)


def test_dead_links_to_images_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/{n}.jpg" for name in COLOURS for n in range(2)])
    (tmp_path / "red" / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (only,) = read(tmp_path).reading.ignored
    assert (only.what, only.count, only.examples, only.odd) == ("dead links", 1, ("red/dead.jpg",), True)


def test_a_class_of_nothing_but_dead_links_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/{n}.jpg" for name in COLOURS for n in range(2)])
    (tmp_path / "yellow").mkdir()
    (tmp_path / "yellow" / "1.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(AtlasError, match=r"without images: yellow \(1 links there lead to nothing\)"):
        read(tmp_path)


def test_files_that_no_reader_takes_are_counted_by_ending(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/{n}.jpg" for name in COLOURS for n in range(2)])
    touch(tmp_path, ["red/a.heic", "red/b.heic", "red/c", "red/notes.txt", "stray.jpg"])
    found = {each.what: (each.count, each.odd) for each in read(tmp_path).reading.ignored}
    assert found == {
        "images outside of the class folders": (1, True),
        "files beside the images (1 .txt)": (1, False),
        "files whose endings are no image's (2 .heic, 1 no ending)": (3, True),
    }


def test_folders_in_class_folders_are_odd(tmp_path: Path) -> None:
    touch(tmp_path, ["dog/1.jpg", "dog/poodle/2.jpg", "cat/1.jpg"])
    listing = read(tmp_path)
    assert listing.class_names == ("cat", "dog")
    assert [each.kind for each in listing.reading.oddities] == ["folders-in-classes"]


def test_the_litter_of_desktop_systems_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path, [f"{name}/{n}.jpg" for name in (*COLOURS, "@eaDir") for n in range(2)])
    (tmp_path / "__MACOSX").mkdir()
    assert read(tmp_path).class_names == COLOURS


def test_every_picture_that_pillow_writes_and_reads_again_is_found(tmp_path: Path) -> None:
    Image.init()
    written = []
    for ending, kind in Image.registered_extensions().items():
        path = tmp_path / "red" / f"1{ending}"
        path.parent.mkdir(exist_ok=True)
        for mode in ("RGB", "L", "1", "P"):
            try:
                Image.new(mode, (32, 32)).save(path, kind)
                decode_image(path)
            except Exception:  # formats that Pillow cannot write, or reads with other programs alone
                path.unlink(missing_ok=True)
                continue
            written.append(ending)
            break
    touch(tmp_path, ["blue/1.jpg", "blue/2.jpg"])
    missed = set(written) - IMAGE_ENDINGS - {".blp"}  # the textures of a game
    assert missed == set()
    assert {".jpg", ".jfif", ".jpe", ".png", ".apng", ".tga", ".jp2", ".webp", ".pbm"} <= set(written)
    assert len(read(tmp_path).items) == 2 + len(set(written) & IMAGE_ENDINGS)

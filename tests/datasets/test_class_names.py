"""Class names of one's own data: as written, from WordNet ids, and what is odd about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.class_names import odd_names
from atlas_core.datasets.description_yaml import read_description
from atlas_core.datasets.readers.base import Listing, read_listing
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import jpeg


def class_folders(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            (folder / name / f"{number}.jpg").write_bytes(jpeg())
    return folder


def described(folder: Path, names: str) -> Listing:
    """The images in `folder`/own, read by a description with these class names."""
    path = folder / "own.yaml"
    path.write_text(f"name: own\nlayout: image_folder\nfolder: ./own\noptions:\n  class_names: {names}\n")
    spec = dataset_spec(str(path))
    return read_listing(spec, folder / "own")


def test_names_in_a_description_are_read_as_they_are_written(tmp_path: Path) -> None:
    class_folders(tmp_path / "own", "a", "b", "c", "d", "e")
    names = described(tmp_path, "{a: no, b: yes, c: 012, d: 1:30, e: 2024-01-01}").class_names
    assert names == ("no", "yes", "012", "1:30", "2024-01-01")


def test_folders_in_a_description_are_read_as_they_are_written(tmp_path: Path) -> None:
    class_folders(tmp_path / "own", "no", "yes", "007", "null")
    names = "{no: healthy brain, yes: brain with a tumour, 007: spy, null: nothing}"
    assert described(tmp_path, names).class_names == (
        "spy",
        "healthy brain",
        "nothing",
        "brain with a tumour",
    )


@pytest.mark.parametrize("nothing", ["null", "~", ""])
def test_a_null_is_no_name_and_quotes_make_it_one(nothing: str, tmp_path: Path) -> None:
    class_folders(tmp_path / "own", "a", "b")
    with pytest.raises(AtlasError, match=r"no name.*put names in quotes"):
        described(tmp_path, f"{{a: {nothing}, b: jay}}")
    assert described(tmp_path, '{a: "null", b: jay}').class_names == ("null", "jay")


def test_other_parts_of_a_description_are_plain_yaml() -> None:
    text = (
        "name: a\noptions: {seed: 7, fractions: {test: 1.0}, class_names: {1: 2}, columns: {path: no}}\nx: no"
    )
    expected: dict[str, Any] = yaml.safe_load(text)
    expected["options"] |= {"class_names": {"1": "2"}, "columns": {"path": "no"}}
    assert read_description(text) == expected
    assert read_description("") is None
    assert read_description("[1, 2]") == [1, 2]


# --- WordNet ids ---------------------------------------------------------------------------------------------------

IDS = ("n01440764", "n01443537", "n01484850")
NAMES = "n01440764 tench\nn01443537 goldfish\nn01484850 great white shark\n"


@pytest.mark.parametrize("place", ["own/classnames.txt", "imagenet/classnames.txt"])
def test_wordnet_ids_get_the_names_of_classnames_txt(place: str, tmp_path: Path) -> None:
    class_folders(tmp_path / "own", *IDS)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(NAMES)
    listing = described(tmp_path, "{}")
    assert listing.class_names == ("tench", "goldfish", "great white shark")
    assert "class names from classnames.txt" in listing.reading.why


def test_wordnet_ids_without_names_are_refused_and_either_advice_helps(tmp_path: Path) -> None:
    class_folders(tmp_path / "own", *IDS)
    with pytest.raises(AtlasError, match="3 classes are WordNet ids and have no names: n01440764") as refused:
        described(tmp_path, "{}")
    by_hand = "{n01440764: tench, n01443537: goldfish, n01484850: shark}"
    assert described(tmp_path, by_hand).class_names == ("tench", "goldfish", "shark")
    place = re.search(r"in (\S+classnames\.txt)", refused.value.expected)
    assert place is not None
    Path(place.group(1)).write_text(NAMES)
    assert described(tmp_path, "{}").class_names == ("tench", "goldfish", "great white shark")


def test_an_id_that_classnames_txt_does_not_have_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "own", *IDS, "n99999999")
    (tmp_path / "own" / "classnames.txt").write_text(NAMES)
    with pytest.raises(AtlasError, match="1 classes are WordNet ids and have no names: n99999999"):
        described(tmp_path, "{}")


# --- odd names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (("0", "1", "2"), ["names-are-numbers"]),
        (("1.0", "-1"), ["names-are-numbers"]),
        (("no", "yes"), ["names-are-answers"]),
        (("False", "None", "cat"), ["names-are-answers"]),
        (("n01440764", "cat"), ["names-are-wordnet-ids"]),
        (("c0", "c1"), ["names-are-codes"]),
        (("cat", "dog", "A320 airliner", "東京", "猫", "T"), []),
        (("3", "n/a"), ["names-are-numbers", "names-are-answers"]),
    ],
)
def test_names_that_say_nothing_are_odd(names: tuple[str, ...], kinds: list[str]) -> None:
    assert [each.kind for each in odd_names(names)] == kinds

"""The published few-shot lists, the base/new cut, and what holds for any dataset."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.few_shot import MAX_VAL_SHOTS, few_shot_sample
from atlas_core.datasets.items import (
    SPLITS,
    DatasetIndex,
    Item,
    base_new_labels,
    prompt_name,
    select,
    select_class_names,
)
from atlas_core.datasets.readers.base import READERS
from atlas_core.errors import AtlasError


@cache
def published_index(name: str, splits: Path) -> DatasetIndex:
    """A whole published split file, read as the dataset's own reader does (the images need not be there)."""
    spec = dataset_spec(name)
    listing = READERS.get(spec.layout)(spec, splits)
    return DatasetIndex(name, splits, listing.items, listing.class_names)


def made_index(train: list[int], val: list[int] | None = None, n_classes: int = 0) -> DatasetIndex:
    """An index whose images have the given labels, in that order."""
    splits = (("train", train), ("val", val or []))
    items = tuple(
        Item(f"{split}/{n}.jpg", label, f"class {label}", "train" if split == "train" else "val")
        for split, labels in splits
        for n, label in enumerate(labels)
    )
    n_classes = n_classes or 1 + max([*train, *(val or [0])])
    return DatasetIndex("made", Path("/"), items, tuple(f"class {label}" for label in range(n_classes)))


def test_every_published_list_at_hand_is_drawn_exactly(shared: Path) -> None:
    checked = set()
    for file in sorted((shared / "fewshot_indices").glob("*/shot_*-seed_*.json")):
        name = file.parent.name
        shots, seed = (int(part.partition("_")[2]) for part in file.stem.split("-"))
        index = published_index(name, shared / "splits")
        sample = few_shot_sample(index, shots, seed)
        published = json.loads(file.read_text())
        for part, positions in (("train", sample.train), ("val", sample.val)):
            drawn = [index.items[position] for position in positions]
            listed = published[part]["data"]
            assert [(item.label, item.class_name) for item in drawn] == [
                (entry["label"], entry["classname"]) for entry in listed
            ], f"{file}, {part}"
            # Listed paths start with another root; what follows is the path below the dataset's folder.
            pairs = zip(drawn, listed, strict=True)
            assert all(entry["impath"].endswith(f"/{item.path}") for item, entry in pairs), f"{file}, {part}"
        checked.add((name, shots, seed))
    assert {name for name, _, _ in checked} >= {"caltech101", "dtd", "oxford_pets"}
    assert len(checked) >= 18


# Counts from the public split files (train, val, test, classes, fewest training images of a class).
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("caltech101", (4128, 1649, 2465, 100, 16)),
        ("dtd", (2820, 1128, 1692, 47, 60)),
        ("eurosat", (13500, 5400, 8100, 10, 1000)),
        ("oxford_flowers", (4093, 1633, 2463, 102, 20)),
        ("oxford_pets", (2944, 736, 3669, 37, 74)),
        ("stanford_cars", (6509, 1635, 8041, 196, 19)),
        ("ucf101", (7639, 1898, 3783, 101, 58)),
    ],
)
def test_the_published_split_files_have_the_published_counts(
    name: str, counts: tuple[int, ...], shared: Path
) -> None:
    index = published_index(name, shared / "splits")
    fewest = min(Counter(index.items[p].label for p in index.positions("train")).values())
    assert (*(len(index.positions(s)) for s in SPLITS), len(index.class_names), fewest) == counts
    assert tuple(dataset_spec(name).counts.values()) == counts[:4]


def test_classes_come_in_the_order_of_their_first_appearance(shared: Path) -> None:
    # The published Flowers file starts with labels 76, 72, 87 and the Cars file with 13, 2, 90.
    for name, start in (("oxford_flowers", [76, 72, 87]), ("stanford_cars", [13, 2, 90])):
        index = published_index(name, shared / "splits")
        sample = few_shot_sample(index, 1, 1)
        assert [index.items[position].label for position in sample.train[:3]] == start


labels = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(labels, labels, st.integers(1, 20), st.integers(0, 5))
def test_a_sample_holds_as_many_of_each_class_as_asked_or_all(
    train: list[int], val: list[int], shots: int, seed: int
) -> None:
    index = made_index(train, val)
    sample = few_shot_sample(index, shots, seed)
    for labels_of, drawn, wanted in (
        (train, sample.train, shots),
        (val, sample.val, min(shots, MAX_VAL_SHOTS)),
    ):
        assert len(set(drawn)) == len(drawn)
        found = Counter(index.items[position].label for position in drawn)
        assert found == {label: min(n, wanted) for label, n in Counter(labels_of).items()}
    assert all(index.items[position].split == "train" for position in sample.train)
    assert all(index.items[position].split == "val" for position in sample.val)
    assert sample == few_shot_sample(index, shots, seed)


def test_a_class_with_too_few_images_keeps_all_and_draws_nothing() -> None:
    # Class 1 has fewer images than shots: what is drawn for class 2 is as if class 1 were not there.
    with_small = few_shot_sample(made_index([0] * 9 + [1] * 2 + [2] * 9), 4, 1)
    without = few_shot_sample(made_index([0] * 9 + [2] * 9, n_classes=3), 4, 1)
    assert with_small.train[4:6] == (9, 10)
    assert [p - 2 for p in with_small.train[6:]] == list(without.train[4:])


def test_another_seed_or_number_of_shots_gives_another_sample() -> None:
    index = made_index([0, 1] * 50)
    assert few_shot_sample(index, 4, 1) != few_shot_sample(index, 4, 2)
    assert len(few_shot_sample(index, 8, 1).train) == 16


def test_a_test_set_and_zero_shots_are_refused() -> None:
    tests_only = DatasetIndex(
        "made", Path("/"), (Item("a", 0, "a", "test"), Item("b", 1, "b", "test")), ("a", "b")
    )
    with pytest.raises(AtlasError, match="no training images"):
        few_shot_sample(tests_only, 1, 1)
    with pytest.raises(AtlasError, match="shots = 0"):
        few_shot_sample(made_index([0, 1]), 0, 1)


@given(st.integers(2, 1000))
def test_base_classes_are_the_first_half_rounded_up(n: int) -> None:
    base, new = base_new_labels(n)
    assert base + new == tuple(range(n))
    assert len(base) - len(new) in (0, 1)


def test_one_class_cannot_be_cut() -> None:
    with pytest.raises(AtlasError, match=r"1 class\(es\)"):
        base_new_labels(1)


def test_each_half_is_relabelled_from_zero_and_never_sees_the_other() -> None:
    index = made_index([0, 1, 2, 3, 4] * 3)
    base, new = base_new_labels(5)
    sample = few_shot_sample(index, 2, 1).train
    base_items, new_items = select(index, sample, base), select(index, sample, new)
    assert {(i.label, i.class_name) for i in base_items} == {(n, f"class {n}") for n in (0, 1, 2)}
    assert {(i.label, i.class_name) for i in new_items} == {(0, "class 3"), (1, "class 4")}
    assert len(base_items) + len(new_items) == len(sample)
    assert select_class_names(index, new) == ("class 3", "class 4")
    assert select(index, sample, None) == [index.items[position] for position in sample]
    with pytest.raises(AtlasError, match=r"\[7\]"):
        select(index, sample, [0, 7])


def test_underscores_become_spaces_in_prompts() -> None:
    assert prompt_name("Apply_Eye_Makeup") == "Apply Eye Makeup"

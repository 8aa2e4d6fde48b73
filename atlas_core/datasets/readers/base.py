"""What a reader gives, the registry of readers, and the checks that every dataset passes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from atlas_core.datasets.advice import datasets_command, how_to_get
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import SPLITS, DatasetIndex, Item, differing_counts
from atlas_core.datasets.paths import check_relative, check_text, missing_files, readable
from atlas_core.datasets.reading import PLAIN, Reading
from atlas_core.errors import AtlasError
from atlas_core.registry import Registry, unknown_name


@dataclass(frozen=True)
class Listing:
    """A reader's answer.

    Args:
        items: In the layout's order.
        class_names: By label.
        from_disk: The items were found by listing folders, so they need not be looked for again.
        reading: Why they are so, and what was left out.
        class_ids: By label, where classes are known by more than a name (see `DatasetIndex`).
    """

    items: tuple[Item, ...]
    class_names: tuple[str, ...]
    from_disk: bool = False
    reading: Reading = PLAIN
    class_ids: tuple[str, ...] = ()


Reader = Callable[[DatasetSpec, Path], Listing]
"""Takes the description and the dataset's own folder."""

READERS: Registry[Reader] = Registry("dataset layout", "atlas.layouts")


def read_dataset(spec: DatasetSpec, root: Path) -> DatasetIndex:
    """Read a dataset's index (no image is opened).

    Args:
        spec: The description.
        root: The data root, which holds the dataset's folder.

    Raises:
        AtlasError: The folder, a split or class file or images are missing, an image is listed twice, a
            path leaves the folder, or labels and class names do not fit together; the names are given.
    """
    folder = spec.path(root)
    listing = read_listing(spec, folder)
    return DatasetIndex(spec.name, folder, listing.items, listing.class_names, listing.class_ids)


def read_listing(spec: DatasetSpec, folder: Path) -> Listing:
    """As `read_dataset`, with how the layout was understood; `folder` is the dataset's own."""
    if not os.path.isdir(folder):
        raise AtlasError(
            f"dataset {spec.name!r} is not at {folder}",
            expected=f"a folder in the layout {spec.layout!r}",
            fix=f"{how_to_get(spec, folder)}, or give the data root that has it",
        )
    listing = listing_of(spec, folder)
    check_listing(spec, listing)
    if not listing.from_disk:
        _check_present(spec, folder, listing)
    return listing


def listing_of(spec: DatasetSpec, folder: Path) -> Listing:
    """What the layout's reader finds in a dataset's own folder; `check_listing` has yet to see it.

    Raises:
        AtlasError: The reader's, or the folder holds what may not be read.
    """
    with readable(f"dataset {spec.name!r}"):
        return READERS.get(spec.layout)(spec, folder)


def check_listing(spec: DatasetSpec, listing: Listing) -> None:
    """Raise an AtlasError on a listing that cannot be right, naming the images."""
    if not listing.items:
        raise AtlasError(
            f"dataset {spec.name!r} has no images", expected=f"images in the layout {spec.layout!r}"
        )
    if len(listing.class_names) < 2:
        raise AtlasError(
            f"dataset {spec.name!r} has only {len(listing.class_names)} class",
            expected="at least two classes",
        )
    seen: set[str] = set()
    twice: list[str] = []
    for item in listing.items:
        check_relative(item.path, f"image of dataset {spec.name!r}")
        if item.path in seen:
            twice.append(item.path)
        seen.add(item.path)
    if twice:
        raise AtlasError(
            f"dataset {spec.name!r} lists {len(twice)} image(s) twice: {name_some(twice)}",
            expected="each image once, in one split and one class",
        )
    wrong = [i.path for i in listing.items if not 0 <= i.label < len(listing.class_names)]
    if wrong:
        raise AtlasError(
            f"dataset {spec.name!r}: label without a class name: {name_some(wrong)}",
            expected="a class name for every label",
        )
    for name in listing.class_names:
        check_text(name, f"class of dataset {spec.name!r}")
    if any(not name.strip() for name in listing.class_names):
        raise AtlasError(f"dataset {spec.name!r} has a class without a name", expected="names to prompt with")


def _check_present(spec: DatasetSpec, folder: Path, listing: Listing) -> None:
    missing = missing_files(folder, (item.path for item in listing.items))
    if missing:
        raise AtlasError(
            f"dataset {spec.name!r}: {len(missing)} of {len(listing.items)} images are missing "
            f"below {folder}: {name_some(missing)}",
            fix=f"{datasets_command('verify', spec, folder)} lists all; {how_to_get(spec, folder)}",
        )


def count_differences(spec: DatasetSpec, listing: Listing) -> tuple[str, ...]:
    """Where the numbers of images and classes are not the published ones."""
    found: dict[str, int] = {split: sum(i.split == split for i in listing.items) for split in SPLITS}
    found["classes"] = len(listing.class_names)
    return differing_counts(spec.counts, found)


def check_options(spec: DatasetSpec, known: Collection[str]) -> None:
    """Refuse an option that the layout does not have: a misspelt one would change nothing without a word."""
    for name in spec.options:
        if name not in known:
            raise unknown_name(f"option of layout {spec.layout}", name, list(known))


def name_some(names: list[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def names_by_label(spec: DatasetSpec, names: dict[int, str]) -> tuple[str, ...]:
    """Class names in label order.

    Raises:
        AtlasError: The labels are not exactly 0..n-1.
    """
    # Not a range up to the largest label: a split file may say a billion.
    strange = [label for label in sorted(names) if not 0 <= label < len(names)]
    if strange:
        raise AtlasError(
            f"dataset {spec.name!r}: labels {strange[:5]} break the numbering of its {len(names)} classes",
            expected="labels 0, 1, 2, … without gaps",
        )
    return tuple(names[label] for label in range(len(names)))

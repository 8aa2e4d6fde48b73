"""A folder of class folders, with split folders above them or an automatic split.

    birds/robin/1.jpg, birds/wren/2.jpg                     split automatically
    birds/train/robin/1.jpg, birds/test/robin/2.jpg         split as given

Labels follow the sorted folder names. Without `test`, `val` is the test set, as is usual for such folders.
Options: `seed` and `fractions` of the automatic split; `class_names`, a mapping of folder to name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_core.datasets.automatic_split import automatic_split, split_options
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Item, Split
from atlas_core.datasets.paths import image_names, join, sub_folders
from atlas_core.datasets.readers.base import Listing
from atlas_core.errors import AtlasError

_SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items by split, then by class, then by sorted file name."""
    images = folder / spec.image_folder
    if not images.is_dir():
        raise AtlasError(
            f"dataset {spec.name!r} has no folder {images}", expected="a folder of class folders"
        )
    names = sub_folders(images)
    if not names:
        raise AtlasError(f"{images} holds no folders", expected="one folder a class, or train, val and test")
    splits = _split_folders(names)
    classes = sorted({c for s in splits for c in sub_folders(images / s)}) if splits else names
    titles = _class_names(spec, classes)
    if splits:
        items = _split_as_given(spec, folder, splits, classes, titles)
    else:
        items = _split_automatically(spec, folder, classes, titles)
    return Listing(tuple(items), tuple(titles[name] for name in classes), from_disk=True)


def _split_folders(names: list[str]) -> dict[str, Split]:
    """Folder → split when the folders are splits, else nothing."""
    if not set(names) <= set(_SPLIT_FOLDERS) or ("train" not in names and "test" not in names):
        return {}
    order = list(_SPLIT_FOLDERS)
    splits = {name: _SPLIT_FOLDERS[name] for name in sorted(names, key=order.index)}
    if len(set(splits.values())) < len(splits):
        raise AtlasError(
            f"two folders for one split: {', '.join(names)}", expected="one of val, valid, validation"
        )
    if "test" not in splits:
        return {name: "test" if split == "val" else split for name, split in splits.items()}
    return splits


def _class_names(spec: DatasetSpec, classes: list[str]) -> dict[str, str]:
    given: Any = spec.options.get("class_names", {})
    if not isinstance(given, Mapping) or set(given) - set(classes):
        raise AtlasError(
            f"dataset {spec.name!r}: options.class_names = {given!r}",
            expected=f"a mapping from class folder to name; the folders are {', '.join(classes[:10])}",
        )
    return {name: str(given.get(name, name)) for name in classes}


def _split_as_given(
    spec: DatasetSpec, folder: Path, splits: dict[str, Split], classes: list[str], titles: dict[str, str]
) -> list[Item]:
    items = []
    for split_folder, split in splits.items():
        for label, name in enumerate(classes):
            where = join(spec.image_folder, f"{split_folder}/{name}")
            if (folder / where).is_dir():
                found = image_names(folder / where)
                items += [Item(join(where, path), label, titles[name], split) for path in found]
    return items


def _split_automatically(
    spec: DatasetSpec, folder: Path, classes: list[str], titles: dict[str, str]
) -> list[Item]:
    found = [
        (join(spec.image_folder, f"{name}/{path}"), label, name)
        for label, name in enumerate(classes)
        for path in image_names(folder / spec.image_folder / name)
    ]
    splits = automatic_split([name for _, _, name in found], *split_options(spec.options))
    items = [Item(p, label, titles[n], split) for (p, label, n), split in zip(found, splits, strict=True)]
    return sorted(items, key=lambda item: ("train", "val", "test").index(item.split))

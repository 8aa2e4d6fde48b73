"""A folder of class folders, with split folders above them or an automatic split.

    birds/robin/1.jpg, birds/wren/2.jpg                     split automatically
    birds/train/robin/1.jpg, birds/test/robin/2.jpg         split as given

Labels follow the sorted folder names. Without `test`, `val` is the test set, as is usual for such folders;
with `train` alone the split is automatic.
Options: `seed` and `fractions` of the automatic split; `class_names`, a mapping of folder to name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_core.datasets.automatic_split import completed_split
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import SPLITS, Item, Split
from atlas_core.datasets.paths import image_names, join, sub_folders
from atlas_core.datasets.readers.base import Listing, distinct_names, name_some
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
    parts: dict[str, Split | None] = {**_split_folders(names)} or {"": None}
    classes = sorted({name for part in parts for name in sub_folders(images / part)})
    titles = _class_names(spec, classes)
    found = [
        (join(where, path), name, split)
        for part, split in parts.items()
        for name in classes
        if (folder / (where := join(spec.image_folder, join(part, name)))).is_dir()
        for path in image_names(folder / where)
    ]
    empty = sorted(set(classes) - {name for _, name, _ in found})
    if empty:
        raise AtlasError(
            f"dataset {spec.name!r}: class folders without images: {name_some(empty)}",
            fix="put images there or remove the folders",
        )
    splits = completed_split([split for *_, split in found], [name for _, name, _ in found], spec.options)
    label = {name: number for number, name in enumerate(classes)}
    items = [Item(p, label[n], titles[n], split) for (p, n, _), split in zip(found, splits, strict=True)]
    items.sort(key=lambda item: SPLITS.index(item.split))
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
    return splits


def _class_names(spec: DatasetSpec, classes: list[str]) -> dict[str, str]:
    given: Any = spec.options.get("class_names", {})
    if not isinstance(given, Mapping) or {str(folder) for folder in given} - set(classes):
        raise AtlasError(
            f"dataset {spec.name!r}: options.class_names = {given!r}",
            expected=f"a mapping from class folder to name; the folders are {', '.join(classes[:10])}",
        )
    # A folder called 12 is a number in YAML.
    by_text = {str(folder): str(name) for folder, name in given.items()}
    titles = {name: by_text.get(name, name) for name in classes}
    distinct_names(spec, titles)
    return titles

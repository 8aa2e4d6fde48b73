"""ImageNet (protocol 2.1): sorted WNID folders are the labels; the validation images are the test set."""

from __future__ import annotations

from pathlib import Path

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Item, Split
from atlas_core.datasets.paths import image_names, join, sub_folders
from atlas_core.datasets.readers.base import Listing, name_some
from atlas_core.datasets.readers.wordnet_names import read_wordnet_names
from atlas_core.errors import AtlasError

_FOLDERS: dict[str, Split] = {"train": "train", "val": "test"}


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items by split (train, then the validation images as test), label and sorted file name.

    The published code lists files in the order that the disk gives, which differs between machines;
    sorted order makes few-shot samples the same everywhere.
    """
    names = read_wordnet_names(spec, folder)
    wnids = {part: _wnids(spec, folder, part) for part in _FOLDERS}
    different = sorted(set(wnids["train"]) ^ set(wnids["val"]))
    unnamed = sorted(set(wnids["train"]) - set(names))
    if different:
        raise AtlasError(
            f"dataset {spec.name!r}: classes in one of train and val only: {name_some(different)}"
        )
    if unnamed:
        raise AtlasError(f"dataset {spec.name!r}: folders without a class name: {name_some(unnamed)}")
    items = []
    for part, split in _FOLDERS.items():
        for label, wnid in enumerate(wnids[part]):
            where = join(spec.image_folder, f"{part}/{wnid}")
            items += [
                Item(join(where, name), label, names[wnid], split) for name in image_names(folder / where)
            ]
    titles = tuple(names[wnid] for wnid in wnids["train"])
    return Listing(tuple(items), titles, from_disk=True, class_ids=tuple(wnids["train"]))


def _wnids(spec: DatasetSpec, folder: Path, part: str) -> list[str]:
    path = folder / spec.image_folder / part
    found = sub_folders(path) if path.is_dir() else []
    if not found:
        hint = "the validation images must be sorted into WNID folders too" if part == "val" else ""
        raise AtlasError(
            f"dataset {spec.name!r} has no class folders in {path}", expected="WNID folders", fix=hint
        )
    return found

"""ImageNetV2, -Sketch, -A and -R (protocol 2.3): test sets with ImageNet's class names.

Options: `folders: wnid` (default; sorted WNID folders are relabelled 0.., so -A and -R have 200 classes) or
`folders: number` (V2: folder i is the i-th line of classnames.txt).
"""

from __future__ import annotations

from pathlib import Path

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Item
from atlas_core.datasets.paths import image_names, join, sub_folders
from atlas_core.datasets.readers.base import Listing, name_some
from atlas_core.datasets.readers.wordnet_names import read_wordnet_names
from atlas_core.errors import AtlasError


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items by label and sorted file name, all in the test split."""
    names = read_wordnet_names(spec, folder)
    images = folder / spec.image_folder
    if not images.is_dir():
        raise AtlasError(f"dataset {spec.name!r} has no folder {images}", expected="one folder a class")
    found = sub_folders(images)
    match spec.options.get("folders", "wnid"):
        case "number":
            classes = _numbered(spec, found, names)
        case "wnid":
            classes = _by_wnid(spec, found, names)
        case other:
            raise AtlasError(f"dataset {spec.name!r}: options.folders = {other!r}", expected="wnid or number")
    items = [
        Item(join(spec.image_folder, f"{name}/{file}"), label, title, "test")
        for label, (name, _, title) in enumerate(classes)
        for file in image_names(images / name)
    ]
    titles, wnids = (tuple(each[part] for each in classes) for part in (2, 1))
    return Listing(tuple(items), titles, from_disk=True, class_ids=wnids)


# A class: its folder, its WordNet id and its name.
_Class = tuple[str, str, str]


def _numbered(spec: DatasetSpec, found: list[str], names: dict[str, str]) -> list[_Class]:
    expected = [str(number) for number in range(len(names))]
    missing = [name for name in expected if name not in set(found)]
    if missing:
        raise AtlasError(
            f"dataset {spec.name!r}: class folders missing: {name_some(missing)}",
            expected=f"folders 0 to {len(names) - 1}, one a line of classnames.txt",
        )
    return list(zip(expected, names, names.values(), strict=True))


def _by_wnid(spec: DatasetSpec, found: list[str], names: dict[str, str]) -> list[_Class]:
    unnamed = [name for name in found if name not in names]
    if unnamed:
        raise AtlasError(f"dataset {spec.name!r}: folders without a class name: {name_some(unnamed)}")
    return [(wnid, wnid, names[wnid]) for wnid in found]

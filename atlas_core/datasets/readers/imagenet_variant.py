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
            classes = _numbered(spec, found, list(names.values()))
        case "wnid":
            classes = _by_wnid(spec, found, names)
        case other:
            raise AtlasError(f"dataset {spec.name!r}: options.folders = {other!r}", expected="wnid or number")
    items = [
        Item(join(spec.image_folder, f"{name}/{file}"), label, title, "test")
        for label, (name, title) in enumerate(classes)
        for file in image_names(images / name)
    ]
    return Listing(tuple(items), tuple(title for _, title in classes), from_disk=True)


def _numbered(spec: DatasetSpec, found: list[str], titles: list[str]) -> list[tuple[str, str]]:
    expected = [str(number) for number in range(len(titles))]
    missing = [name for name in expected if name not in set(found)]
    if missing:
        raise AtlasError(
            f"dataset {spec.name!r}: class folders missing: {name_some(missing)}",
            expected=f"folders 0 to {len(titles) - 1}, one a line of classnames.txt",
        )
    return list(zip(expected, titles, strict=True))


def _by_wnid(spec: DatasetSpec, found: list[str], names: dict[str, str]) -> list[tuple[str, str]]:
    unnamed = [name for name in found if name not in names]
    if unnamed:
        raise AtlasError(f"dataset {spec.name!r}: folders without a class name: {name_some(unnamed)}")
    return [(name, names[name]) for name in found]

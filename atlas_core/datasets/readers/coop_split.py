"""The published `split_zhou_*.json` layout (protocol 2.1): one file fixes the splits, labels and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atlas_core.budgets import LIST_BYTES
from atlas_core.datasets.advice import how_to_get
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import SPLITS, Item
from atlas_core.datasets.paths import check_relative, join
from atlas_core.datasets.readers.base import Listing, names_by_label
from atlas_core.documents import parse_json, read_text
from atlas_core.errors import AtlasError


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items in the json's order: train, val, test, each as listed.

    A missing split file is an error: a new random split would give results that compare with nothing.
    """
    path = split_path(spec, folder)
    items: list[Item] = []
    names: dict[int, str] = {}
    content = _load(spec, path)
    for split in SPLITS:
        for entry in content[split]:
            relative, label, name = _entry(path, split, entry)
            if names.setdefault(label, name) != name:
                raise AtlasError(
                    f"{path}: label {label} is both {names[label]!r} and {name!r}",
                    expected="one name for each label",
                )
            items.append(Item(join(spec.image_folder, relative), label, name, split))
    return Listing(tuple(items), names_by_label(spec, names))


def split_path(spec: DatasetSpec, folder: Path) -> Path:
    """Where the split file is expected."""
    if spec.split_file is None:
        raise AtlasError(
            f"dataset {spec.name!r} names no split_file", expected="one, for layout 'coop_split'"
        )
    return folder / spec.split_file


def _load(spec: DatasetSpec, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AtlasError(
            f"split file of dataset {spec.name!r} is missing",
            expected=f"{path} (splits, labels and class names come from it)",
            fix=f"{how_to_get(spec, path.parent)}, or download it from {_where(spec)} and put it there",
        )
    try:
        content = parse_json(read_text(path, LIST_BYTES), f"split file {path}")
    except ValueError as error:
        raise AtlasError(
            f"split file {path} is damaged: {error}", fix="delete it and fetch it again"
        ) from error
    if not isinstance(content, dict) or any(not isinstance(content.get(split), list) for split in SPLITS):
        raise AtlasError(f"split file {path} has another form", expected="lists under train, val and test")
    return content


def _entry(path: Path, split: str, entry: Any) -> tuple[str, int, str]:
    match entry:
        case [str(relative), int(label), str(name)] if not isinstance(label, bool):
            return check_relative(relative, f"image in {path}"), label, name
    raise AtlasError(f"{path}: entry {entry!r} of {split}", expected="[relative path, label, class name]")


def _where(spec: DatasetSpec) -> str:
    for archive in spec.source.archives if spec.source else ():
        if archive.name == spec.split_file:
            if archive.url.startswith("gdrive:"):
                return f"https://drive.google.com/file/d/{archive.url.removeprefix('gdrive:')}/view"
            return archive.url
    return spec.homepage or "where the dataset was published"

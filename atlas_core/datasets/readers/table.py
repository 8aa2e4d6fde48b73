"""A CSV or Parquet file that lists one's own images.

    path,class,split
    img/1.jpg,robin,train

Paths are relative to `image_folder`. Without a split column, or with training images alone, the split is
automatic; without test images the validation images are the test set. Options: `file`
(default labels.csv or labels.parquet); `columns`, a mapping of path, class and split to other column names;
`class_names`, a mapping of the column's values to names; `seed` and `fractions` of the automatic split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atlas_core.datasets.automatic_split import completed_split
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Item, Split
from atlas_core.datasets.paths import check_relative, join
from atlas_core.datasets.readers.base import Listing, distinct_names
from atlas_core.datasets.readers.table_file import check_cell, read_columns
from atlas_core.errors import AtlasError

_USUAL_COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "image", "image_path", "file", "filename", "file_name"),
    "class": ("class", "class_name", "label", "category"),
    "split": ("split",),
}
_SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items in the table's order; labels follow the sorted classes (numbers by value)."""
    path = _table_path(spec, folder)
    columns = read_columns(path)
    chosen = _choose_columns(spec, path, columns)
    paths = [check_relative(str(value), f"image in {path}") for value in columns[chosen["path"]]]
    classes = [check_cell(value, f"{path}, column {chosen['class']!r}") for value in columns[chosen["class"]]]
    if any(value is None or value == "" for value in classes):
        raise AtlasError(
            f"{path}: a row of column {chosen['class']!r} is empty", expected="a class for each image"
        )
    order = sorted_classes(classes)
    titles = _titles(spec, order)
    given: list[Split | None] = [None] * len(classes)
    if "split" in chosen:
        given = [split_named(value, path) for value in columns[chosen["split"]]]
    splits = completed_split(given, classes, spec.options)
    label_of = {value: label for label, value in enumerate(order)}
    items = tuple(
        Item(join(spec.image_folder, p), label_of[c], titles[c], s)
        for p, c, s in zip(paths, classes, splits, strict=True)
    )
    return Listing(items, tuple(titles[value] for value in order))


def split_named(value: Any, path: Path) -> Split:
    """The split that a cell or file name means.

    Raises:
        AtlasError: It is none of the usual words.
    """
    if str(value).lower() not in _SPLIT_NAMES:
        raise AtlasError(f"{path}: split {value!r}", expected=f"one of {', '.join(_SPLIT_NAMES)}")
    return _SPLIT_NAMES[str(value).lower()]


def sorted_classes(values: Iterable[Any]) -> list[Any]:
    """The distinct values, numbers (also written as text) by value and else by text."""
    distinct = set(values)
    if all(str(value).isdecimal() for value in distinct):
        return sorted(distinct, key=lambda value: int(str(value)))
    return sorted(distinct, key=str)


def _table_path(spec: DatasetSpec, folder: Path) -> Path:
    given = spec.options.get("file")
    names = [str(given)] if given else ["labels.csv", "labels.parquet"]
    for name in names:
        path = folder / check_relative(name, "options.file")
        if path.is_file():
            return path
    raise AtlasError(f"dataset {spec.name!r} has no {' or '.join(names)} in {folder}", fix="set options.file")


def _choose_columns(spec: DatasetSpec, path: Path, columns: Mapping[str, Any]) -> dict[str, str]:
    given: Any = spec.options.get("columns", {})
    if not isinstance(given, Mapping) or set(given) - set(_USUAL_COLUMNS):
        raise AtlasError(
            f"options.columns = {given!r}", expected="a mapping of path, class, split to columns"
        )
    chosen = {}
    for role, usual in _USUAL_COLUMNS.items():
        candidates = (str(given[role]),) if role in given else usual
        found = next((name for name in candidates if name in columns), None)
        if found is not None:
            chosen[role] = found
        elif role in given or role != "split":
            raise AtlasError(
                f"{path} has no column for the {role}",
                expected=f"one of {', '.join(candidates)}; it has {', '.join(columns)}",
                fix="name it under options.columns",
            )
    return chosen


def _titles(spec: DatasetSpec, order: list[Any]) -> dict[Any, str]:
    given: Any = spec.options.get("class_names", {})
    if not isinstance(given, Mapping):
        raise AtlasError(f"options.class_names = {given!r}", expected="a mapping from class to name")
    by_text = {str(key): str(name) for key, name in given.items()}
    titles = {value: by_text.get(str(value), str(value)) for value in order}
    distinct_names(spec, titles)
    return titles

"""A CSV, JSON-lines or Parquet file that lists one's own images.

    path,class,split
    img/1.jpg,robin,train

Paths are relative to `image_folder`, or whatever `table_paths` finds them to be. Without a split column, or with
training images alone, the split is automatic; without test images the validation images are the test set.
Options: `file` (default labels.csv, labels.parquet, metadata.jsonl or metadata.csv); `columns`, a mapping of path,
class and split to other column names; `class_names`, a mapping of the column's values to names; `seed` and
`fractions` of the automatic split.
"""

from __future__ import annotations

from pathlib import Path

from atlas_core.datasets.automatic_split import completed_split, split_reason
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.class_names import class_titles, sorted_classes
from atlas_core.datasets.items import Item, Split
from atlas_core.datasets.paths import check_relative, join
from atlas_core.datasets.readers.base import Listing, check_options
from atlas_core.datasets.reading import Reading
from atlas_core.datasets.table_file import check_classes, choose_columns, read_columns, split_named
from atlas_core.datasets.table_paths import find_paths
from atlas_core.errors import AtlasError

_OPTIONS = ("file", "columns", "class_names", "fractions", "seed")
_USUAL_FILES = ("labels.csv", "labels.parquet", "metadata.jsonl", "metadata.csv")


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items in the table's order; labels follow the sorted classes (numbers by value)."""
    check_options(spec, _OPTIONS)
    path = _table_path(spec, folder)
    columns = read_columns(spec, path)
    chosen = choose_columns(spec, path, columns)
    found = find_paths(columns[chosen["path"]], folder / spec.image_folder, path)
    classes = columns[chosen["class"]]
    check_classes(path, chosen["class"], classes)
    order = sorted_classes(classes)
    titles, names_from = class_titles(spec, folder, order)
    given: list[Split | None] = [None] * len(classes)
    if "split" in chosen:
        given = [split_named(value, path) for value in columns[chosen["split"]]]
    splits = completed_split(given, classes, spec.options)
    label_of = {value: label for label, value in enumerate(order)}
    items = tuple(
        Item(join(spec.image_folder, p), label_of[c], titles[c], s)
        for p, c, s in zip(found.paths, classes, splits, strict=True)
    )
    roles = ", ".join(f"{role} from column {name!r}" for role, name in chosen.items())
    named = f"; class names from {names_from}" if names_from else ""
    paths = f"; paths{found.how}" if found.how else ""
    why = f"{path.name}: {roles}{paths}; {split_reason(set(given), spec.options)}{named}"
    return Listing(items, tuple(titles[value] for value in order), reading=Reading(why))


def _table_path(spec: DatasetSpec, folder: Path) -> Path:
    given = spec.options.get("file")
    names = [str(given)] if given else list(_USUAL_FILES)
    for name in names:
        path = folder / check_relative(name, "options.file")
        if path.is_file():
            return path
    raise AtlasError(
        f"dataset {spec.name!r} has no {' or '.join(names)} in {folder}",
        expected="a table of paths and classes",
        fix="name it: table:FOLDER/FILE, or options.file in a description",
    )

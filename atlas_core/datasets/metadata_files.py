"""Hugging Face's "imagefolder": a `metadata.jsonl`, .csv or .parquet beside the images, which may say their classes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.class_names import is_number
from atlas_core.datasets.items import Split
from atlas_core.datasets.paths import FolderContents
from atlas_core.datasets.reading import first_few, two_readings
from atlas_core.datasets.split_words import split_word
from atlas_core.datasets.table_file import check_classes, choose_columns, has_roles, read_columns, split_named
from atlas_core.datasets.table_paths import find_paths
from atlas_core.errors import AtlasError

_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


@dataclass(frozen=True)
class MetadataRows:
    """What the metadata files of a folder say, file by file.

    Attributes:
        rows: (path, class, split) of each image; the split is that of a column, else of the file's folder.
        files: The metadata files.
    """

    rows: tuple[tuple[str, Any, Split | None], ...]
    files: tuple[str, ...]


def metadata_rows(spec: DatasetSpec, root: Path, contents: FolderContents) -> MetadataRows | None:
    """The rows of a folder's metadata files; None where there are none, or none that say classes.

    Raises:
        AtlasError: Two of them lie in one folder, or one cannot be read.
    """
    files = [path for path in contents.others if path.rpartition("/")[2] in _NAMES]
    folders = [path.rpartition("/")[0] for path in files]
    if len(set(folders)) < len(folders):
        raise AtlasError(
            f"dataset {spec.name!r}: several metadata files in one folder: {first_few(files)}",
            expected="one in each folder",
            fix="remove the one that is not meant",
        )
    tables = {path: read_columns(spec, root / path) for path in files}
    if not tables or not all(has_roles(spec, columns, ("path", "class")) for columns in tables.values()):
        return None
    rows: list[tuple[str, Any, Split | None]] = []
    for path, columns in tables.items():
        chosen = choose_columns(spec, root / path, columns)
        folder = path.rpartition("/")[0]
        found = find_paths(columns[chosen["path"]], root / folder, root / path)
        classes = columns[chosen["class"]]
        check_classes(root / path, chosen["class"], classes)
        splits: list[Split | None] = [split_word(folder.partition("/")[0])] * len(classes)
        if "split" in chosen:
            splits = [split_named(value, root / path) for value in columns[chosen["split"]]]
        paths = [posixpath.join(folder, each) for each in found.paths]
        rows += zip(paths, classes, splits, strict=True)
    return MetadataRows(tuple(rows), tuple(files))


def metadata_speaks(
    spec: DatasetSpec, root: Path, metadata: MetadataRows, by_folder: Mapping[str, str]
) -> bool:
    """Whether the classes are those of the metadata, and not those of the folders.

    Args:
        by_folder: Path → class by the folders that it lies in; empty where they are no classes.

    Raises:
        AtlasError: Both cut the images into classes, and into different ones.
    """
    choice = spec.options.get("classes")
    if choice not in (None, "folders", "metadata"):
        raise AtlasError(f"options.classes = {choice!r}", expected="folders or metadata")
    names = set(by_folder.values())
    if choice is not None or len(names) < 2:
        return choice != "folders"
    pairs = {(by_folder.get(path), str(value)) for path, value, _ in metadata.rows}
    if len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs}):
        return all(is_number(name) for name in names)  # the same classes; words are the better names
    said = {str(value) for _, value, _ in metadata.rows}
    readings = [
        ("options.classes: folders", f"{len(names)} classes: {first_few(sorted(names))}"),
        ("options.classes: metadata", f"{len(said)} classes: {first_few(sorted(said))}"),
    ]
    raise two_readings(
        f"dataset {spec.name!r}: the classes in {root}, by their folders and by {metadata.files[0]},",
        readings,
        "choose one in a description of the dataset",
    )

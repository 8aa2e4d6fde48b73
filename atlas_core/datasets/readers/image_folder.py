"""A folder of class folders, with split folders above or below them or an automatic split.

    birds/robin/1.jpg, birds/wren/2.jpg                     split automatically
    birds/train/robin/1.jpg, birds/Testing/robin/2.jpg      split as given

What each level of folders means is found by `folder_levels`; where that is open, `options.levels` says it. Labels
follow the sorted class names. Without `test`, `val` is the test set, as is usual for such folders; with `train`
alone the split is automatic. A folder of images with a `metadata.jsonl` or `metadata.csv` in place of class folders
(Hugging Face's "imagefolder") is read as the table that it is.
Options: `levels`; `splits`, a mapping of folder to split; `class_names`, a mapping of class to name; `seed` and
`fractions` of the automatic split; `columns` of a metadata file; `classes`, "folders" or "metadata" where both are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from atlas_core.datasets.automatic_split import completed_split, split_reason
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.class_names import class_titles, sorted_classes
from atlas_core.datasets.folder_levels import FolderLevels, Folders, folder_levels
from atlas_core.datasets.items import SPLITS, Item, Split
from atlas_core.datasets.metadata_files import MetadataRows, metadata_rows, metadata_speaks
from atlas_core.datasets.paths import FolderContents, folder_contents, is_image, join
from atlas_core.datasets.readers.base import Listing, check_options, name_some
from atlas_core.datasets.reading import (
    Ignored,
    Oddity,
    Reading,
    first_few,
    ignored,
    ignored_files,
    is_side_file,
)
from atlas_core.datasets.split_words import split_word
from atlas_core.errors import AtlasError

_OPTIONS = ("levels", "splits", "class_names", "fractions", "seed", "columns", "classes")


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items by split, then by class, then by sorted path."""
    check_options(spec, _OPTIONS)
    root = folder / spec.image_folder
    if not root.is_dir():
        raise AtlasError(f"dataset {spec.name!r} has no folder {root}", expected="a folder of class folders")
    contents = folder_contents(root)
    metadata = metadata_rows(spec, root, contents)
    if metadata is not None and metadata_speaks(spec, root, metadata, _by_folder(spec, root, contents)):
        return _of_metadata(spec, folder, contents, metadata)
    if not contents.folders:
        raise AtlasError(
            f"{root} holds no folders",
            expected="one folder a class, or train and test",
            fix="sort the images into class folders, or list them in a table (docs/datasets.md)",
        )
    tree = folder_levels(spec, root, {_folders(path) for path in contents.images})
    found = _placed(contents, tree)
    classes = sorted({name for _, name, _ in found})
    _check_complete(spec, contents, tree, classes)
    why = _why(tree, spec)
    reading = Reading(why, _left_out(spec, contents, tree), _oddities(contents, tree))
    return _listing(spec, folder, found, classes, reading)


def _of_metadata(
    spec: DatasetSpec, folder: Path, contents: FolderContents, metadata: MetadataRows
) -> Listing:
    listed = {path for path, *_ in metadata.rows}
    files = [path for path in contents.others if path not in metadata.files]
    left_out = (
        *ignored(
            "images that no metadata file lists", [p for p in contents.images if p not in listed], odd=True
        ),
        *ignored_files(files, contents.dead_links),
    )
    why = f"classes from {first_few(metadata.files)}"
    classes = sorted_classes(value for _, value, _ in metadata.rows)
    return _listing(spec, folder, metadata.rows, classes, Reading(why, left_out), from_disk=False)


def _listing(
    spec: DatasetSpec,
    folder: Path,
    found: Sequence[tuple[str, Any, Split | None]],
    classes: Sequence[Any],
    reading: Reading,
    *,
    from_disk: bool = True,
) -> Listing:
    """A listing of (path, class, split) rows, by split and else in their order."""
    titles, names_from = class_titles(spec, folder, classes)
    given = [split for *_, split in found]
    splits = completed_split(given, [name for _, name, _ in found], spec.options)
    label = {name: number for number, name in enumerate(classes)}
    items = [
        Item(join(spec.image_folder, path), label[name], titles[name], split)
        for (path, name, _), split in zip(found, splits, strict=True)
    ]
    items.sort(key=lambda item: SPLITS.index(item.split))
    named = f"; class names from {names_from}" if names_from else ""
    why = f"{reading.why}; {split_reason(set(given), spec.options)}{named}"
    names = tuple(titles[name] for name in classes)
    return Listing(tuple(items), names, from_disk, replace(reading, why=why))


def _by_folder(spec: DatasetSpec, root: Path, contents: FolderContents) -> dict[str, str]:
    """Path → class by folders; nothing where the folders are no classes."""
    try:
        tree = folder_levels(spec, root, {_folders(path) for path in contents.images})
    except AtlasError:
        return {}
    return {path: name for path, name, _ in _placed(contents, tree)}


def _folders(path: str) -> Folders:
    return tuple(path.split("/")[:-1])


def _placed(contents: FolderContents, tree: FolderLevels) -> list[tuple[str, str, Split | None]]:
    """(path, class, split) of each image, by split, class and path."""
    found = [(path, *place) for path in contents.images if (place := tree.place(_folders(path))) is not None]
    return sorted(found, key=lambda each: (SPLITS.index(each[2]) if each[2] else 0, each[1], each[0]))


def _check_complete(
    spec: DatasetSpec, contents: FolderContents, tree: FolderLevels, classes: Collection[str]
) -> None:
    """Refuse class folders without images, and links in the place of folders that lead nowhere."""
    above = {path.rpartition("/")[0] for path in contents.folders}
    leaves = [path for path in contents.folders if path not in above]
    empty = sorted({found[0] for path in leaves if (found := tree.place((*path.split("/"),)))} - {*classes})
    depth = len(tree.levels) - (tree.levels[-1] == "split")
    gone = [
        path
        for path in contents.dead_links
        if path.count("/") < depth and not is_image(path) and not is_side_file(path)
    ]
    if gone and "split" in tree.levels:
        gone = [path for path in gone if "/" in path or split_word(path)]
    if gone:
        raise AtlasError(
            f"dataset {spec.name!r}: links to folders that are not there: {name_some(gone)}",
            expected="folders of images; a disk may not be mounted, or a folder was moved",
            fix="bring the folders back, or remove the links",
        )
    if empty:
        links = sum(
            not is_image(path) or tree.place(_folders(path)) is not None for path in contents.dead_links
        )
        hint = f" ({links} links there lead to nothing)" if links else ""
        raise AtlasError(
            f"dataset {spec.name!r}: class folders without images: {name_some(empty)}{hint}",
            fix="put images there or remove the folders",
        )


def _left_out(spec: DatasetSpec, contents: FolderContents, tree: FolderLevels) -> tuple[Ignored, ...]:
    beside = [path for path in contents.images if tree.place(_folders(path)) is None]
    asked_for = "levels" in spec.options
    return (
        *ignored("images outside of the class folders", beside, odd=not asked_for),
        *ignored_files(contents.others, contents.dead_links),
    )


def _oddities(contents: FolderContents, tree: FolderLevels) -> tuple[Oddity, ...]:
    found = []
    places = {_folders(path) for path in contents.images}
    depth = len(tree.levels)
    both = sorted({each[:depth] for each in places if len(each) > depth} & places)
    if both and tree.levels[-1] == "class":
        named = first_few("/".join(each) for each in both)
        text = f"{len(both)} class folders hold images and folders of images, which count as theirs: {named}"
        found.append(Oddity("folders-in-classes", text))
    if "split" in tree.levels:
        absent = [
            path
            for path in contents.folders
            if "/" not in path and split_word(path) and path not in tree.splits
        ]
        if absent and tree.levels[0] == "split":
            found.append(Oddity("empty-split", f"the folder {first_few(absent)} holds no images"))
    return tuple(found)


def _why(tree: FolderLevels, spec: DatasetSpec) -> str:
    words = {"split": "splits", "group": "groups without a meaning", "class": "classes"}
    levels = " > ".join(
        f"{words[level]} ({first_few(tree.splits)})" if level == "split" else words[level]
        for level in tree.levels
    )
    chosen = "as options.levels says" if "levels" in spec.options else "the only reading of the folders"
    return f"folders are {levels} ({chosen})"

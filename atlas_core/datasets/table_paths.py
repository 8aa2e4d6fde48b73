"""What the paths in a table mean: files below the dataset's folder, however they are written.

A table that came from another machine says `/home/me/birds/img/1.png` or `C:\\birds\\img\\1.png`; one of a contest says
`1` and means `train/1.png`. Such paths are taken where all of them lead to files in one way, and in one alone.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from atlas_core.datasets.paths import check_relative, folder_contents, is_image, missing_files
from atlas_core.datasets.reading import two_readings
from atlas_core.errors import AtlasError


@dataclass(frozen=True)
class FoundPaths:
    """Paths relative to the images' folder, and what was done to get them (empty: nothing)."""

    paths: tuple[str, ...]
    how: str = ""


def find_paths(values: Sequence[object], images: Path, table: Path) -> FoundPaths:
    """The images that a table's cells name.

    Files may still be missing: a reader's caller says which.

    Args:
        images: The folder that paths are relative to.
        table: The table, for messages and for paths that are relative to its own folder.

    Raises:
        AtlasError: A cell is empty or its path leaves the folder, or the paths can be read in two ways.
    """
    texts = [_text(value, table) for value in values]
    written = [text.replace("\\", "/") for text in texts] if any("\\" in text for text in texts) else texts
    how = " with / for \\" if written is not texts else ""
    if any(PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive for path in written):
        inside = [_inside(path, images) for path in written]
        if None not in inside:
            return FoundPaths(tuple(str(path) for path in inside), " absolute, inside the folder")
    present = _Present(images)
    for step in (_as_they_are, _from_the_tables_folder, _without_leading_folders, _in_one_folder):
        found = step(written, present, table)
        if found is not None:
            return FoundPaths(found.paths, how + found.how)
    outside = next((path for path in written if _leaves(path)), None)
    if outside is not None:
        raise AtlasError(
            f"image in {table}: {outside!r} leaves its folder",
            expected=f"paths of files below {images}",
            fix=_advice(written, images, table),
        )
    return FoundPaths(tuple(written), how)


@dataclass(frozen=True)
class _Present:
    images: Path

    def completed(self, paths: Sequence[str]) -> tuple[str, ...] | None:
        """The paths, with the only image ending that each can have where they have none; None if one is missing."""
        if any(_leaves(path) for path in paths):
            return None
        missing = set(missing_files(self.images, paths))
        if not missing:
            return tuple(paths)
        if any(is_image(path.rpartition("/")[2]) for path in missing):
            return None
        endings = {path: self._with_ending(path) for path in missing}
        if not all(endings.values()):
            return None
        return tuple(endings.get(path) or path for path in paths)

    def _with_ending(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        try:
            beside = os.listdir(self.images / folder)
        except OSError:
            return None
        found = [each for each in beside if each.startswith(f"{name}.") and is_image(each)]
        found = [each for each in found if os.path.splitext(each)[0] == name]
        return posixpath.join(folder, found[0]) if len(found) == 1 else None


_Step = Callable[[Sequence[str], _Present, Path], FoundPaths | None]


def _as_they_are(written: Sequence[str], present: _Present, table: Path) -> FoundPaths | None:
    found = present.completed(written)
    if found is None:
        return None
    return FoundPaths(found, "" if list(found) == list(written) else " with the endings that the files have")


def _from_the_tables_folder(written: Sequence[str], present: _Present, table: Path) -> FoundPaths | None:
    """Paths that count from the table's folder, where that is another one below the images' folder."""
    place = os.path.relpath(table.parent, present.images)
    if place == ".":
        return None
    moved = [posixpath.normpath(posixpath.join(Path(place).as_posix(), path)) for path in written]
    found = present.completed(moved)
    return None if found is None else FoundPaths(found, " from the table's own folder")


def _without_leading_folders(written: Sequence[str], present: _Present, table: Path) -> FoundPaths | None:
    """Paths whose common leading folders, of the machine where the table was made, are not here."""
    parts = [PurePosixPath(path).parts for path in written]
    common = []
    for level in zip(*(each[:-1] for each in parts), strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    ways = {}
    for count in range(1, len(common) + 1):
        found = present.completed(["/".join(each[count:]) for each in parts])
        if found is not None:
            ways[str(PurePosixPath(*common[:count]))] = found
    if len(ways) > 1:
        readings = [("leave out " + lead, f"{paths[0]}, …") for lead, paths in ways.items()]
        raise two_readings(f"{table}: its paths", readings, "write them relative to the table's folder")
    return next((FoundPaths(found, f" without {lead}/") for lead, found in ways.items()), None)


def _in_one_folder(written: Sequence[str], present: _Present, table: Path) -> FoundPaths | None:
    """Bare names whose files all lie in one folder further down."""
    if any("/" in path for path in written) or not written:
        return None
    ways = {}
    for folder in folder_contents(present.images).folders:
        found = present.completed([posixpath.join(folder, path) for path in written])
        if found is not None:
            ways[folder] = found
    if len(ways) > 1:
        readings = [(f"image_folder: {folder}", f"{paths[0]}, …") for folder, paths in ways.items()]
        raise two_readings(f"{table}: its paths", readings, "choose one in a description of the dataset")
    return next((FoundPaths(found, f" in {folder}/") for folder, found in ways.items()), None)


def _text(value: object, table: Path) -> str:
    text = "" if value is None else str(value).strip()
    if not text or "\0" in text:
        # The check refuses both, with the words for it.
        check_relative(text, f"image in {table}")
    return text


def _inside(path: str, images: Path) -> str | None:
    """An absolute path as one below the folder, which may itself be reached through links."""
    if not PurePosixPath(path).is_absolute():
        return None if _leaves(path) else path
    for root in (images.absolute(), images.resolve()):
        inside = posixpath.normpath(path)
        if PurePosixPath(inside).is_relative_to(root.as_posix()):
            return PurePosixPath(inside).relative_to(root.as_posix()).as_posix()
    return None


def _leaves(path: str) -> bool:
    try:
        check_relative(path, "")
    except AtlasError:
        return True
    return False


def _advice(written: Sequence[str], images: Path, table: Path) -> str:
    whole = [posixpath.normpath(posixpath.join(images.as_posix(), path)) for path in written]
    if all(Path(path).is_file() for path in whole):
        folder = Path(os.path.commonpath([*whole, table.absolute().as_posix()]))
        inside = table.absolute().relative_to(folder).as_posix()
        return (
            f"describe the dataset from a folder that holds both: {{name: {table.stem}, layout: table, "
            f'folder: "{folder}", options: {{file: "{inside}"}}}} in a YAML file, which names the dataset'
        )
    return "write the paths relative to the table's folder"

"""Relative paths that stay inside their folder, and listings of a folder's files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from atlas_core.errors import AtlasError

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def check_relative(path: str, where: str) -> str:
    """Return `path` if it stays inside the folder that it is relative to.

    Raises:
        AtlasError: It is absolute, climbs out with `..`, holds a backslash or is empty; `where` names it.
    """
    parts = PurePosixPath(path).parts
    if (
        not path
        or "\\" in path
        or "\0" in path
        or path.startswith("/")
        or ".." in parts
        or PureWindowsPath(path).drive
    ):
        raise AtlasError(f"{where}: {path!r} leaves its folder", expected="a relative path without '..'")
    return path


def join(folder: str, path: str) -> str:
    """`folder/path` in POSIX form, with `.` standing for nothing."""
    return PurePosixPath(folder, path).as_posix()


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image (hidden files never are)."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def sub_folders(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def image_names(folder: Path) -> list[str]:
    """Relative POSIX paths of the images below a folder, sorted (so a listing is the same on every disk)."""
    return sorted(path for path, _ in walk(folder) if is_image(path.rpartition("/")[2]))


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Visible files below a folder as (relative POSIX path, entry), links followed, no folder twice."""
    return ((path, entry) for path, entry in _walk(folder) if entry is not None)


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """As `walk`, with ("folder/", None) for each folder in which nothing is visible."""
    seen: set[tuple[int, int]] = set()

    def below(path: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        empty = True
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                empty = False
                if entry.is_dir():
                    yield from below(entry.path, f"{prefix}{entry.name}/")
                elif entry.is_file():
                    yield prefix + entry.name, entry
        if empty:
            yield prefix, None

    yield from below(str(folder), "")


def listing_fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over the sorted (relative path, size, modification time in ns) of the visible files.

    Empty folders count by their paths: one may be a class that its images are yet to come for.

    Raises:
        AtlasError: The folder does not exist.
    """
    if not folder.is_dir():
        raise AtlasError(f"folder {folder} does not exist", expected="a dataset's folder")
    digest = hashlib.sha256()
    for path, entry in sorted(_walk(folder), key=lambda found: found[0]):
        stamp = "" if entry is None else f"\0{entry.stat().st_size}\0{entry.stat().st_mtime_ns}"
        digest.update(f"{path}{stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def missing_files(folder: Path, paths: Iterable[str]) -> list[str]:
    """Those of the relative `paths` that are not files below `folder`, in their order.

    Each parent folder is listed once, which is far cheaper than asking for every file.
    """
    listed: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        parent, _, name = path.rpartition("/")
        if parent not in listed:
            listed[parent] = _file_names(folder / parent)
        if name not in listed[parent]:
            missing.append(path)
    return missing


def _file_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()

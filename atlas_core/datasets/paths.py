"""Relative paths that stay inside their folder, and listings of a folder's files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from atlas_core.errors import AtlasError

# The endings of pictures that Pillow reads. Left out are what it only recognises (HDF5, GRIB, MPEG, …) and formats
# that are no photograph's (fonts, brushes, cursors). A list of our own: Pillow's differs between its builds, and what
# is in a dataset must not.
_ENDINGS = (
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .bmp .dib .gif .tif .tiff .webp .avif .avifs .ppm .pgm .pbm .pnm .pfm "
    ".jp2 .j2k .j2c .jpc .jpf .jpx .tga .icb .vda .vst .pcx .dcx .sgi .rgb .rgba .bw .ras .im .msp .psd .dds .qoi "
    ".ico .icns .xbm .xpm"
)
IMAGE_ENDINGS = frozenset(_ENDINGS.split())
# What desktop systems and network disks put beside one's files.
_LITTER = frozenset({"__MACOSX", "@eaDir", "lost+found", "System Volume Information", "$RECYCLE.BIN"})


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


def is_visible(name: str) -> bool:
    """Whether a file or folder counts: hidden ones and the litter of desktop systems do not."""
    return not name.startswith(".") and name not in _LITTER


def sub_folders(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if is_visible(entry.name) and entry.is_dir())


@dataclass(frozen=True)
class FolderContents:
    """What is visible below a folder: relative POSIX paths, sorted, links followed.

    Attributes:
        images: Files whose ending says that they are images.
        others: All other files.
        dead_links: Links to what is not there (an unmounted disk, a moved file).
        folders: Every folder, empty ones too.
    """

    images: tuple[str, ...]
    others: tuple[str, ...]
    dead_links: tuple[str, ...]
    folders: tuple[str, ...]


def folder_contents(folder: Path) -> FolderContents:
    """List everything visible below a folder once.

    Raises:
        AtlasError: The folder, or one below it, cannot be listed.
    """
    images: list[str] = []
    others: list[str] = []
    dead: list[str] = []
    folders: list[str] = []
    try:
        for path, entry in _walk(folder):
            if entry is None:
                folders += [path.rstrip("/")] if path else []  # not the folder itself
            elif not entry.is_file():
                dead.append(path)
            elif is_image(entry.name):
                images.append(path)
            else:
                others.append(path)
    except OSError as error:
        raise AtlasError(
            f"{error.filename or folder} cannot be listed: {error.strerror}",
            expected="folders that may be read",
            fix="correct their permissions, or give another folder",
        ) from error
    above = {parent for path in images + others + dead + folders for parent in _parents(path)}
    return FolderContents(*(tuple(sorted(found)) for found in (images, others, dead, {*folders, *above})))


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def file_names(folder: Path) -> list[str]:
    """Relative POSIX paths of the visible files below a folder, sorted."""
    return sorted(path for path, entry in _walk(folder) if entry is not None and entry.is_file())


def image_names(folder: Path) -> list[str]:
    """Relative POSIX paths of the images below a folder, sorted (so a listing is the same on every disk)."""
    return sorted(
        path
        for path, entry in _walk(folder)
        if entry is not None and is_image(entry.name) and entry.is_file()
    )


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Visible files and dead links below a folder as (relative POSIX path, entry), links followed, no folder twice.

    ("folder/", None) stands for each folder in which nothing is visible.
    """
    seen: set[tuple[int, int]] = set()

    def below(path: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        empty = True
        with os.scandir(path) as entries:
            for entry in entries:
                if not is_visible(entry.name):
                    continue
                empty = False
                if entry.is_dir():
                    yield from below(entry.path, f"{prefix}{entry.name}/")
                elif entry.is_file() or entry.is_symlink():
                    yield prefix + entry.name, entry
        if empty:
            yield prefix, None

    yield from below(str(folder), "")


def listing_fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over the sorted (relative path, size, modification time in ns) of the visible files.

    Empty folders and dead links count by their paths: one may be a class whose images are yet to come.

    Raises:
        AtlasError: The folder does not exist.
    """
    if not folder.is_dir():
        raise AtlasError(f"folder {folder} does not exist", expected="a dataset's folder")
    digest = hashlib.sha256()
    for path, entry in sorted(_walk(folder), key=lambda found: found[0]):
        there = entry is not None and entry.is_file()
        stamp = f"\0{entry.stat().st_size}\0{entry.stat().st_mtime_ns}" if entry and there else ""
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

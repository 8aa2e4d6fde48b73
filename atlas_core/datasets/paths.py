"""Relative paths that stay inside their folder, and listings of a folder's files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from atlas_core.budgets import PATH_DEPTH, ROWS
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
        AtlasError: It is absolute, climbs out with `..`, holds a backslash, is empty, or is no text that UTF-8
            can write (a file name in another encoding); `where` names it.
    """
    check_text(path, where)
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


def check_text(text: str, where: str) -> str:
    """Return `text` if it can be written as UTF-8; tables and keys hold nothing else.

    Raises:
        AtlasError: It holds half of a surrogate pair, or bytes of a name in another encoding; `where` names it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise AtlasError(
            f"{where}: {text!r} cannot be written as UTF-8",
            expected="names in UTF-8",
            fix="rename the file, or correct the name",
        ) from error
    return text


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what the disk refuses to show into an error that names the thing and the place.

    Raises:
        AtlasError: A file or folder that was read inside may not be, is not there any more, or is not UTF-8 text.
    """
    try:
        yield
    except OSError as error:
        place = f" at {str(error.filename)[:200]!r}" if error.filename is not None else ""
        raise AtlasError(
            f"{what} cannot be read{place}: {error.strerror or error}",
            expected="files and folders that this account may read",
            fix="correct the path, or the rights on it",
        ) from error
    except UnicodeDecodeError as error:
        raise AtlasError(
            f"{what} cannot be read: {error}", expected="text in UTF-8", fix="save the file as UTF-8"
        ) from error


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
    """Names of the visible folders in a folder, sorted.

    Raises:
        AtlasError: One of them is a link that leads nowhere: leaving it out would leave out a class.
    """
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if is_visible(entry.name)]
    dead = sorted(
        entry.name
        for entry in visible
        if entry.is_symlink() and not os.path.exists(entry.path) and not os.path.splitext(entry.name)[1]
    )
    if dead:
        raise AtlasError(
            f"{folder} has links to folders that are not there: {', '.join(dead[:5])}",
            expected="folders of images; a disk may not be mounted",
            fix="bring the folders back, or remove the links",
        )
    return sorted(entry.name for entry in visible if entry.is_dir())


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
    """List everything visible below a folder once."""
    images: list[str] = []
    others: list[str] = []
    dead: list[str] = []
    folders: list[str] = []
    for path, entry in _walk(folder):
        if entry is None:
            folders += [path.rstrip("/")] if path else []  # not the folder itself
        elif not entry.is_file():
            dead.append(path)
        elif is_image(entry.name):
            images.append(path)
        else:
            others.append(path)
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
    return sorted(path for path, _ in walk(folder) if is_image(path.rpartition("/")[2]))


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Visible files below a folder as (relative POSIX path, entry), links followed, no folder twice."""
    return ((path, entry) for path, entry in _walk(folder) if entry is not None and entry.is_file())


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Visible files and dead links below a folder as (relative POSIX path, entry), links followed, no folder twice.

    ("folder/", None) stands for each folder in which nothing is visible.
    """
    seen: set[tuple[int, int]] = set()
    files = 0

    def below(path: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
        nonlocal files
        PATH_DEPTH.check(prefix.count("/"), f"folder {folder}")
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
                    files += 1
                    ROWS.check(files, f"folder {folder}")
                    yield prefix + entry.name, entry
        if empty:
            yield prefix, None

    yield from below(str(folder), "")


def listing_fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over the sorted (relative path, size, modification time in ns) of the visible files.

    Empty folders and dead links count by their paths: one may be a class whose images are yet to come.

    Raises:
        AtlasError: The folder does not exist, or something in it cannot be read.
    """
    if not folder.is_dir():
        raise AtlasError(f"folder {folder} does not exist", expected="a dataset's folder")
    digest = hashlib.sha256()
    with readable(f"folder {folder}"):
        found = sorted((path, _stamp(entry)) for path, entry in _walk(folder))
    for path, stamp in found:
        digest.update(f"{path}{stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def unlisted_images(folder: Path, paths: Iterable[str]) -> list[str]:
    """Images that lie in the same folders as the relative `paths`, and are none of them."""
    listed = set(paths)
    parents = sorted({path.rpartition("/")[0] for path in listed})
    beside = (f"{parent}/{name}".lstrip("/") for parent in parents for name in _file_names(folder / parent))
    return sorted(path for path in beside if path not in listed and is_image(path.rpartition("/")[2]))


def _stamp(entry: os.DirEntry[str] | None) -> str:
    """Size and time of a file; nothing of an empty folder and of a dead link."""
    if entry is None or not entry.is_file():
        return ""
    return f"\0{entry.stat().st_size}\0{entry.stat().st_mtime_ns}"


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
    except OSError:  # not there, or not to be read: its files are as good as missing
        return set()

"""Folders that others write to as well: which files in them are this program's, so that only those are replaced.

A hidden list in the folder holds the SHA-256 of each file as it was written. A file that is not in the list, or was
changed since, is somebody's: it is never deleted and never overwritten.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from atlas_core.budgets import TABLE_BYTES
from atlas_core.datasets.paths import check_relative
from atlas_core.documents import read_text
from atlas_core.errors import AtlasError
from atlas_core.features.atomic import replacing
from atlas_core.hashing import file_sha256

LIST = ".atlas-files.json"
ANOTHER_OUTPUT = "move it away, or choose another place with --output"


class _List(BaseModel):
    """SHA-256 by relative path: the one that the file has, or while files are being replaced the old and the new."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = 1
    files: dict[str, tuple[str, ...]]


Digests = Mapping[str, tuple[str, ...]]


@contextmanager
def written_to(folder: Path, *, fix: str) -> Iterator[Path]:
    """A passing folder for new files, which are put into `folder` when the block ends well.

    Raises:
        AtlasError: The folder cannot be written to, or somebody's file has one of the names; `fix` says what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        passing = Path(tempfile.mkdtemp(prefix=".atlas-new-", dir=folder))
    except OSError as error:
        raise AtlasError(
            f"{folder} cannot be written to: {error.strerror}",
            expected="a folder that this user may write to",
            fix=fix,
        ) from error
    try:
        yield passing
        put(passing, folder, fix=fix)
    finally:
        shutil.rmtree(passing, ignore_errors=True)


def put(content: Path, folder: Path, *, fix: str, replace_all: bool = False) -> None:
    """Move the files below `content` into `folder`, in place of what this program put there under the same names.

    Broken off, it can be called again: the list names the old files and the new ones until the end.

    Args:
        content: A folder on its own; files are moved out of it.
        fix: What a person can do where a name is taken.
        replace_all: Remove the other files that this program put there, too.

    Raises:
        AtlasError: Something else has one of the names; nothing was moved.
    """
    new = {path: (file_sha256(content / path),) for path in sorted(_files(content))}
    if not os.path.lexists(folder) or (_is_folder(folder) and not any(folder.iterdir())):
        _write_list(content, new)
        os.replace(content, folder)
        return
    old = written(folder)
    _refuse_taken(folder, new, old, fix)
    others = [path for path in old if path not in new and _is_ours(folder, path, old[path])]
    _write_list(folder, {**old, **{path: (*old.get(path, ()), *new[path]) for path in new}})
    if replace_all:
        _remove(folder, others)
    for path, digests in new.items():
        if not _is_ours(folder, path, digests):  # a file that has these bytes stays, with its times
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            move(content / path, folder / path)
    _write_list(folder, new if replace_all else {**{path: old[path] for path in others}, **new})


def written(folder: Path) -> dict[str, tuple[str, ...]]:
    """SHA-256 of each file that this program put into `folder`, by relative path; nothing where there is no list.

    Raises:
        AtlasError: The list is damaged or somebody else's.
    """
    path = folder / LIST
    if not os.path.lexists(path):
        return {}
    try:
        if path.is_symlink():
            raise ValueError("it is a link")
        found = _List.model_validate_json(read_text(path, TABLE_BYTES))
        if found.format != 1:
            raise ValueError(f"its format is {found.format}")
        return {check_relative(each, str(path)): digests for each, digests in found.files.items()}
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise AtlasError(
            f"{path} does not say which files of its folder are this program's: {reason}",
            expected="the list as it was written",
            fix="move it away; the files beside it then count as yours",
        ) from error


def refuse_taken(folder: Path, names: Iterable[str], *, fix: str) -> None:
    """Raise when somebody's file, folder or link in `folder` has one of the names: before work that takes long."""
    _refuse_taken(folder, dict.fromkeys(names, ()), written(folder), fix)


def move(source: Path, target: Path) -> None:
    """Rename a file or folder, or copy it where the target is on another disk; whole or not at all."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The folder is a link to another disk: copy under a passing name, then rename.
        passing = target.with_name(f".{target.name}.atlas-partial")
        if source.is_dir():
            shutil.rmtree(passing, ignore_errors=True)
            shutil.copytree(source, passing)
        else:
            shutil.copyfile(source, passing)
        os.replace(passing, target)


def _refuse_taken(folder: Path, new: Digests, old: Digests, fix: str) -> None:
    for path, digests in new.items():
        taken = _taken_folder(folder, path)
        if taken is None and os.path.lexists(folder / path):
            taken = None if _is_ours(folder, path, (*digests, *old.get(path, ()))) else folder / path
        if taken is not None:
            raise AtlasError(
                f"{taken} is there, and is not what this program wrote",
                expected="a name that is free, or has a file as this program left it",
                fix=fix,
            )


def _taken_folder(folder: Path, path: str) -> Path | None:
    """What stands where a file's folder has to be: a file, or a link, which would lead into another folder."""
    if os.path.lexists(folder) and not folder.is_dir():
        return folder
    above = [folder / parent for parent in PurePosixPath(path).parents if parent.parts]
    return next((each for each in above if os.path.lexists(each) and not _is_folder(each)), None)


def _is_ours(folder: Path, path: str, digests: Iterable[str]) -> bool:
    """Whether the file is there, with bytes that this program wrote; one behind a link is not."""
    file = folder / path
    if _taken_folder(folder, path) is not None or file.is_symlink() or not file.is_file():
        return False
    return file_sha256(file) in digests


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _files(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path, paths: Iterable[str]) -> None:
    """Remove files, and the folders that are empty then."""
    for path in paths:
        (folder / path).unlink()
        for parent in PurePosixPath(path).parents:
            if parent.parts:
                with suppress(OSError):  # it holds other files
                    (folder / parent).rmdir()


def _write_list(folder: Path, files: Digests) -> None:
    with replacing(folder / LIST) as file:
        file.write_text(_List(files=dict(files)).model_dump_json(), encoding="utf-8")

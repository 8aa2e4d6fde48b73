"""Getting a dataset's archives: which are needed, from where, and how their content is put in place."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from atlas_core.datasets.catalogue import Archive, DatasetSpec, Mirror
from atlas_core.datasets.download import DownloadError, download, mismatch
from atlas_core.datasets.extract import extract, is_archive
from atlas_core.datasets.paths import join, missing_files, walk
from atlas_core.datasets.progress import Counter, Progress, ProgressCallback
from atlas_core.datasets.readers import READERS, read_dataset
from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of

# What unpacking takes beside the archive itself, in multiples of its size.
_ROOM = 2.2


def bring_archives(spec: DatasetSpec, data_root: Path, work: Path, report: ProgressCallback) -> None:
    """Fetch what a dataset lacks and put it in place.

    Args:
        work: Folder on the dataset's own disk for downloads and unpacked content; kept when this fails, so
            that the next call goes on from there.

    Raises:
        AtlasError: An archive cannot be had, or the dataset is still not complete.
    """
    folder = spec.path(data_root)
    # Two rounds: a split file that comes in the first one tells which images the second has to get.
    for _ in range(2):
        needed = archives_needed(spec, data_root)
        if not needed:
            break
        unpacked = [_unpacked(spec, archive, folder, work, report) for archive in needed]
        _put_in_place(spec, data_root, unpacked, work)
    try:
        read_dataset(spec, data_root)
    except AtlasError as error:
        if spec.source is not None and spec.source.gated:
            raise AtlasError(error.what, expected=error.expected, fix=spec.source.gated.strip()) from error
        raise


def archives_needed(spec: DatasetSpec, data_root: Path) -> list[Archive]:
    """Archives whose content is not there, or that hold images which are missing."""
    folder = spec.path(data_root)
    archives = spec.source.archives if spec.source else ()
    absent = [a for a in archives if not all((folder / path).exists() for path in provided(a))]
    if absent:
        return absent
    try:
        listing = READERS.get(spec.layout)(spec, folder)
    except AtlasError:
        return []
    missing = missing_files(folder, (item.path for item in listing.items))
    return [
        archive
        for archive in archives
        if any(path == p or path.startswith(f"{p}/") for p in provided(archive) for path in missing)
    ]


def provided(archive: Archive) -> tuple[str, ...]:
    """Paths that tell whether an archive's content is there."""
    return archive.provides or (join(archive.extract_to, archive.name),)


def _unpacked(
    spec: DatasetSpec, archive: Archive, folder: Path, work: Path, report: ProgressCallback
) -> Path:
    """A folder with the archive's content, laid out as in the dataset's folder."""
    finished = work / f"content-{sha256_of(archive.model_dump(mode='json'))[:16]}"
    if finished.is_dir():
        return finished
    downloaded = work / archive.name
    reasons = []
    for candidate in archive.candidates():
        own = _own_copy(candidate, archive, folder)
        try:
            if own is None and not downloaded.is_file():
                _check_room(spec, candidate, work)
                download(candidate, downloaded, _counter(spec, f"downloading {archive.name}", report))
            _unpack(spec, archive, candidate, own or downloaded, finished, report)
        except (DownloadError, AtlasError) as error:
            reasons.append(f"{candidate.url}: {error}")
            if own is None:
                downloaded.unlink(missing_ok=True)
            continue
        downloaded.unlink(missing_ok=True)
        return finished
    raise AtlasError(
        f"dataset {spec.name!r}: {archive.name} could not be fetched ({'; '.join(reasons)})",
        fix=f"try again later, or download it by hand to {folder / archive.name} and fetch again",
    )


def _own_copy(candidate: Mirror, archive: Archive, folder: Path) -> Path | None:
    """A copy that somebody has put in the dataset's folder or beside it, if it is the right file."""
    for place in (folder / archive.name, folder.parent / archive.name):
        if place.is_file() and not mismatch(candidate, place):
            return place
    return None


def _check_room(spec: DatasetSpec, candidate: Mirror, work: Path) -> None:
    if candidate.size is None:
        return
    needed, free = int(candidate.size * _ROOM), shutil.disk_usage(work).free
    if needed > free:
        raise AtlasError(
            f"dataset {spec.name!r} needs about {needed >> 20} MiB and {work} has {free >> 20} MiB free",
            fix="make room, or give another data root",
        )


def _unpack(
    spec: DatasetSpec,
    archive: Archive,
    candidate: Mirror,
    file: Path,
    finished: Path,
    report: ProgressCallback,
) -> None:
    content = finished.with_name(f"{finished.name}.partial")
    shutil.rmtree(content, ignore_errors=True)
    target = content / archive.extract_to
    if is_archive(archive.name):
        extract(
            file,
            target,
            take=candidate.take,
            inner=candidate.inner,
            provides=archive.provides,
            count=_counter(spec, f"unpacking {archive.name}", report),
        )
    else:
        target.mkdir(parents=True)
        shutil.copyfile(file, target / archive.name)
    absent = [path for path in provided(archive) if not (content / path).exists()]
    if absent:
        raise AtlasError(f"{archive.name} does not hold {', '.join(absent)}")
    os.replace(content, finished)


def _put_in_place(spec: DatasetSpec, data_root: Path, unpacked: list[Path], work: Path) -> None:
    folder = spec.path(data_root)
    gated = spec.source is not None and spec.source.gated
    if folder.exists() or gated:
        folder.mkdir(parents=True, exist_ok=True)
        for content in unpacked:
            add_missing(content, folder)
        return
    staging = work / "staging"
    staging.mkdir(exist_ok=True)
    for content in unpacked:
        add_missing(content, staging)
    read_dataset(spec.model_copy(update={"folder": str(staging.absolute())}), data_root)
    os.replace(staging, folder)


def add_missing(content: Path, folder: Path) -> None:
    """Move what `folder` lacks out of `content`; a file that is there already stays as it is."""
    for entry in sorted(content.iterdir()):
        target = folder / entry.name
        if not target.exists():
            _move(entry, target)
        elif entry.is_dir() and target.is_dir():
            add_missing(entry, target)
    shutil.rmtree(content)


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The dataset's folder is a link to another disk: copy under a passing name, then rename.
        passing = target.with_name(f".{target.name}.atlas-partial")
        if source.is_dir():
            shutil.rmtree(passing, ignore_errors=True)
            shutil.copytree(source, passing)
        else:
            shutil.copyfile(source, passing)
        os.replace(passing, target)


def _counter(spec: DatasetSpec, step: str, report: ProgressCallback) -> Counter:
    return lambda done, total: report(Progress(spec.name, step, done, total))


def folder_bytes(folder: Path) -> int:
    """Bytes of the visible files below a folder."""
    return sum(entry.stat().st_size for _, entry in walk(folder))

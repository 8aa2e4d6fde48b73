"""Getting a dataset's archives: which are needed, from where, and how their content is put in place."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from atlas_core.datasets.archive_content import check_content, provided
from atlas_core.datasets.archive_members import is_archive
from atlas_core.datasets.catalogue import Archive, DatasetSpec, Mirror
from atlas_core.datasets.download import DownloadError, download, mismatch
from atlas_core.datasets.extract import extract
from atlas_core.datasets.paths import missing_files
from atlas_core.datasets.progress import Counter, Progress, ProgressCallback
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.readers.base import count_differences, listing_of
from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of
from atlas_core.own_files import move

# What unpacking takes beside the archive itself, in multiples of its size.
_ROOM = 2.2


def bring_archives(
    spec: DatasetSpec, data_root: Path, work: Path, report: ProgressCallback, *, again: bool = False
) -> None:
    """Fetch what a dataset lacks and put it in place.

    Args:
        work: Folder on the dataset's own disk for downloads and unpacked content; kept when this fails, so
            that the next call goes on from there.
        again: Get every archive, whatever seems to be there.

    Raises:
        AtlasError: A licence stands in the way, an archive cannot be had, or the dataset is still not complete.
    """
    folder = spec.path(data_root)
    check_gate(spec, data_root)
    # A new dataset is put together out of sight and gets its name when it can be read.
    target = folder if folder.exists() else work / "dataset"
    target.mkdir(exist_ok=True)
    here = spec.model_copy(update={"folder": str(target.absolute())})
    archives = spec.source.archives if spec.source else ()
    for archive in archives:
        if _content(archive, work).is_dir():
            add_missing(_content(archive, work), target)
    # ImageNet's variants share its classnames.txt.
    places = (folder, folder.parent / "imagenet", folder.parent)
    bring = _Bring(spec, places, work, report)
    for archive in archives if again else archives_needed(here, target):
        # An archive that came before this one may have brought its content along.
        if again or archive in archives_needed(here, target):
            add_missing(bring.unpacked(archive), target)
    # A split file that came just now tells which images are still to be had.
    for archive in archives_needed(here, target):
        add_missing(bring.unpacked(archive), target)
    try:
        read_dataset(here, data_root)
        if target != folder:
            _check_counts(here, target)
    except AtlasError as error:
        if target == folder:
            raise
        fix = f"fetch again; to begin from nothing delete {work} first"
        raise AtlasError(f"what came is not dataset {spec.name!r}: {error}", fix=fix) from error
    if target != folder:
        os.replace(target, folder)


def _check_counts(spec: DatasetSpec, folder: Path) -> None:
    """Raise when a dataset that has just come has another number of images or classes than was published."""
    differences = count_differences(spec, listing_of(spec, folder))
    if differences:
        raise AtlasError("; ".join(differences), expected="the published numbers of images and classes")


def check_gate(spec: DatasetSpec, data_root: Path) -> None:
    """Raise the explanation of a dataset that a person has to get, while its images are not there."""
    images = spec.path(data_root) / spec.image_folder
    if spec.source is not None and spec.source.gated and not images.is_dir():
        raise AtlasError(
            f"dataset {spec.name!r} cannot be downloaded without accepting its licence",
            expected=f"its images below {images}",
            fix=" ".join(spec.source.gated.split()),
        )


def archives_needed(spec: DatasetSpec, folder: Path) -> list[Archive]:
    """Archives whose content is not in `folder`, or that hold images which are missing."""
    archives = spec.source.archives if spec.source else ()
    absent = [archive for archive in archives if not _is_there(archive, folder)]
    if absent:
        return absent
    try:
        listing = listing_of(spec, folder)
    except AtlasError:
        return []
    missing = missing_files(folder, (item.path for item in listing.items))
    return [
        archive
        for archive in archives
        if any(path == p or path.startswith(f"{p}/") for p in provided(archive) for path in missing)
    ]


def _is_there(archive: Archive, folder: Path) -> bool:
    return all((folder / path).exists() for path in provided(archive))


def _content(archive: Archive, work: Path) -> Path:
    """Where an archive's unpacked content waits, laid out as in the dataset's folder."""
    return work / f"content-{sha256_of(archive.model_dump(mode='json'))[:16]}"


@dataclass(frozen=True)
class _Bring:
    """One fetch: what for, where somebody may have put archives already, where to work, whom to tell."""

    spec: DatasetSpec
    places: tuple[Path, ...]
    work: Path
    report: ProgressCallback

    def unpacked(self, archive: Archive) -> Path:
        """The archive's content, from the first place that gives it."""
        reasons = []
        for candidate in archive.candidates():
            # A folder for each address: a mirror must not overwrite what another one has sent so far.
            downloaded = self.work / f"from-{sha256_of(candidate.url)[:16]}" / archive.name
            own = self._own_copy(candidate, archive)
            for file in (own, downloaded) if own else (downloaded,):
                try:
                    if not file.is_file():
                        _check_room(self.spec, candidate, self.work)
                        download(candidate, file, self._counter(f"downloading {archive.name}"))
                    count = self._counter(f"unpacking {archive.name}")
                    _unpack(self.spec, archive, candidate, file, _content(archive, self.work), count)
                except (DownloadError, AtlasError) as error:
                    reason = error.what if isinstance(error, AtlasError) else error
                    reasons.append(f"{candidate.url if file == downloaded else file}: {reason}")
                    downloaded.unlink(missing_ok=True)
                else:
                    downloaded.unlink(missing_ok=True)
                    return _content(archive, self.work)
        raise AtlasError(
            f"dataset {self.spec.name!r}: {archive.name} could not be fetched ({'; '.join(reasons)})",
            fix=f"try again later, or put {archive.name} into {self.places[-1]} and fetch again",
        )

    def _own_copy(self, candidate: Mirror, archive: Archive) -> Path | None:
        """A copy that somebody has put in the dataset's folder or beside it, if it is the right file."""
        for place in self.places:
            file = place / archive.name
            if file.is_file() and not mismatch(candidate, file):
                return file
        return None

    def _counter(self, step: str) -> Counter:
        return lambda done, total: self.report(Progress(self.spec.name, step, done, total))


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
    spec: DatasetSpec, archive: Archive, candidate: Mirror, file: Path, finished: Path, count: Counter
) -> None:
    content = finished.with_name(f"{finished.name}.partial")
    shutil.rmtree(content, ignore_errors=True)
    try:
        _unpack_into(content, archive, candidate, file, count)
        check_content(spec, archive, content)
    except BaseException:
        shutil.rmtree(content, ignore_errors=True)
        raise
    os.replace(content, finished)


def _unpack_into(content: Path, archive: Archive, candidate: Mirror, file: Path, count: Counter) -> None:
    target = content / candidate.extract_to
    if is_archive(file, archive.name):
        extract(
            file,
            target,
            take=candidate.take,
            inner=candidate.inner,
            provides=provided(archive),
            count=count,
        )
    else:
        target.mkdir(parents=True)
        shutil.copyfile(file, target / archive.name)


def add_missing(content: Path, folder: Path) -> None:
    """Move what `folder` lacks out of `content`; a file that is there already stays as it is."""
    for entry in sorted(content.iterdir()):
        target = folder / entry.name
        if not os.path.lexists(target):  # a link that leads nowhere may lead to a disk that is not mounted
            move(entry, target)
        elif entry.is_dir() and target.is_dir():
            add_missing(entry, target)
    shutil.rmtree(content)

"""Checking a dataset on disk: what is missing, what is damaged, what differs from the published one."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from atlas_core.datasets.archive_content import provided
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.paths import missing_files
from atlas_core.datasets.progress import Progress, ProgressCallback, silent
from atlas_core.datasets.readers.base import check_listing, count_differences, listing_of
from atlas_core.errors import AtlasError


@dataclass(frozen=True)
class VerifyReport:
    """What a check found.

    Args:
        dataset: Catalogue name.
        folder: Where it was looked for.
        n_images: Images that the dataset lists.
        missing: Images and other files that are not there, relative to the folder.
        damaged: Images that cannot be read, with the reason.
        problems: What keeps the dataset from being read, in sentences.
        notes: Differences from the published dataset that do not keep it from being read.
    """

    dataset: str
    folder: Path
    n_images: int = 0
    missing: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is missing or damaged and the dataset can be read."""
        return not (self.missing or self.damaged or self.problems)


def verify(
    spec: DatasetSpec, data_root: Path, *, decode: bool = True, progress: ProgressCallback | None = None
) -> VerifyReport:
    """Check a dataset without changing anything.

    Args:
        decode: Decode every image, which alone finds ones that break off; without it only empty files count
            as damaged.
    """
    folder = spec.path(data_root)
    if not os.path.isdir(folder):
        return VerifyReport(spec.name, folder, problems=(f"there is no folder {folder}",))
    absent = _absent_files(spec, folder)
    try:
        listing = listing_of(spec, folder)
    except AtlasError as error:
        return VerifyReport(spec.name, folder, missing=absent, problems=(str(error),))
    try:
        check_listing(spec, listing)
        problems: tuple[str, ...] = ()
    except AtlasError as error:
        problems = (str(error),)
    missing = missing_files(folder, dict.fromkeys(item.path for item in listing.items))
    gone = set(missing)
    present = [item.path for item in listing.items if item.path not in gone]
    damaged = _damaged(spec, folder, present, decode, progress or silent)
    counts = count_differences(spec, listing)
    # A listed split can be another one than the published; a listed folder with too few files lacks some.
    short, notes = (counts, ()) if listing.from_disk else ((), counts)
    return VerifyReport(
        dataset=spec.name,
        folder=folder,
        n_images=len(listing.items),
        missing=(*(path for path in absent if path not in gone), *missing),
        damaged=damaged,
        problems=(*problems, *short),
        notes=notes,
    )


def _absent_files(spec: DatasetSpec, folder: Path) -> tuple[str, ...]:
    archives = spec.source.archives if spec.source else ()
    paths = dict.fromkeys(path for archive in archives for path in provided(archive))
    beside = folder.parent / "imagenet"
    return tuple(
        path
        for path in paths
        if not os.path.exists(folder / path)
        and not (path == "classnames.txt" and os.path.exists(beside / path))
    )


def _damaged(
    spec: DatasetSpec, folder: Path, paths: list[str], decode: bool, report: ProgressCallback
) -> tuple[tuple[str, str], ...]:
    found = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        checks = pool.map(lambda path: _damage(folder / path, decode), paths, chunksize=64)
        for done, (path, reason) in enumerate(zip(paths, checks, strict=True), start=1):
            if reason:
                found.append((path, reason))
            if done % 1000 == 0 or done == len(paths):
                report(Progress(spec.name, "checking images", done, len(paths)))
    return tuple(found)


def _damage(path: Path, decode: bool) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    if not decode:
        return ""
    try:
        with Image.open(path) as image:
            # JPEGs at an eighth of their size: all bytes are read, most of the arithmetic is not done.
            image.draft("RGB", (1, 1))
            image.load()
    except Exception as error:  # Pillow raises many kinds, some its plug-ins' own
        return str(error) or type(error).__name__
    return ""

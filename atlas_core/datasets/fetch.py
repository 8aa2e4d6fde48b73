"""Bringing a dataset's files onto the disk, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from filelock import Timeout

from atlas_core.datasets.advice import where_to_extract
from atlas_core.datasets.archives import bring_archives, check_gate
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.parquet_images import extract_images, is_taken_out
from atlas_core.datasets.paths import file_names, image_names
from atlas_core.datasets.progress import Progress, ProgressCallback, silent
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from atlas_core.locks import lock_on
from atlas_core.own_files import put, written
from atlas_core.resources import expanded

WORK_FOLDER = ".atlas-fetch"
# What a fetch makes in its work folder: downloads, unpacked archives, a dataset that has no name yet.
_PASSING = ("from-*", "content-*", ".inner-*", "dataset")


def ensure_fetched(
    spec: DatasetSpec, data_root: Path, progress: ProgressCallback | None = None, *, again: bool = False
) -> Path:
    """The dataset's folder; its files are fetched or generated when they are not there yet.

    A folder that is there and complete is used as it is, and nothing is written. One that lacks something
    gets what is missing. No file in it is replaced but one that was drawn or extracted here and is unchanged. A
    new one appears under its name only when it can be read and has all its images. A broken-off fetch goes on
    where it stopped; of several processes that fetch the same dataset one does the work and the others wait.

    Args:
        again: Get the archives again even when the folder looks complete (a folder of class folders cannot
            tell that it lacks images), and add every file that is not there.

    Raises:
        AtlasError: Nothing says where to get the dataset, no address gave it, a licence has to be accepted
            first, or what came is not the dataset.
    """
    folder = spec.path(data_root)
    work = folder.parent / WORK_FOLDER / folder.name
    report = progress or silent
    if not again and _is_finished(spec, data_root, work):
        return folder
    if spec.source is None:
        read_dataset(spec, data_root)
        raise AtlasError(
            f"dataset {spec.name!r} has no source to fetch it from", expected=f"all its files in {folder}"
        )
    check_gate(spec, data_root)
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _only_one(work, spec, report):
            if again or not _is_finished(spec, data_root, work):
                _fetch(spec, data_root, work, report, again)
            _clear(work)
    except OSError as error:
        raise AtlasError(f"dataset {spec.name!r} cannot be written below {folder.parent}: {error}") from error
    return folder


@dataclass(frozen=True)
class Fetched:
    """How one of several fetches ended: with a folder, or with an error."""

    spec: DatasetSpec
    folder: Path | None
    error: Exception | None = None


def fetch_all(
    specs: Iterable[DatasetSpec],
    data_root: Path,
    progress: ProgressCallback | None = None,
    *,
    jobs: int = 4,
    again: bool = False,
) -> list[Fetched]:
    """Fetch several datasets at a time; one that fails does not stop the others.

    Args:
        progress: Called from several threads.
        jobs: Datasets at a time.
    """

    def one(spec: DatasetSpec) -> Fetched:
        try:
            return Fetched(spec, ensure_fetched(spec, data_root, progress, again=again))
        except Exception as error:
            return Fetched(spec, None, error)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        return list(pool.map(one, specs))


def is_complete(spec: DatasetSpec, data_root: Path) -> bool:
    """Whether the dataset can be read, has all its images, and is what its source holds now."""
    folder = spec.path(data_root)
    if not os.path.isdir(folder):
        return False
    try:
        if not is_taken_out(spec, folder):
            return False
        read_dataset(spec, data_root)
    except AtlasError:
        return False
    return True


def _is_finished(spec: DatasetSpec, data_root: Path, work: Path) -> bool:
    # Unpacked content left in `work` means that a fetch died while it was adding files to the folder.
    return is_complete(spec, data_root) and not any(work.glob("content-*"))


@contextmanager
def _only_one(work: Path, spec: DatasetSpec, report: ProgressCallback) -> Iterator[None]:
    lock = lock_on(Path(f"{work}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(Progress(spec.name, "waiting for another process that fetches it"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(spec: DatasetSpec, data_root: Path, work: Path, report: ProgressCallback, again: bool) -> None:
    assert spec.source is not None
    if spec.source.generator is not None:
        report(Progress(spec.name, "generating"))
        generate = _generator(spec.name, spec.source.generator)
        _make(spec, data_root, work, lambda target: generate(spec.name, target))
    elif spec.source.parquet is not None:
        report(Progress(spec.name, "taking images out of Parquet files"))
        source = expanded(spec.source.parquet)
        if not os.path.exists(source):
            raise AtlasError(
                f"dataset {spec.name!r}: {source} does not exist", expected="Parquet files there"
            )
        _make(spec, data_root, work, lambda target: extract_images(spec, source, target))
    else:
        bring_archives(spec, data_root, work, report, again=again)


def _generator(dataset: str, package: str) -> Callable[[str, Path], None]:
    """The function that draws a dataset.

    Raises:
        AtlasError: No such package is in the project, or it draws nothing.
    """
    try:
        found: Callable[[str, Path], None] = import_module(f"atlas_core.datasets.{package}").generate
    except (ImportError, AttributeError) as error:
        raise AtlasError(
            f"dataset {dataset!r}: there is no generator {package!r}",
            expected="a package of atlas_core.datasets with a function generate(name, folder)",
            fix="correct source.generator in its description",
        ) from error
    return found


def _refuse_foreign(spec: DatasetSpec, folder: Path, content: Path) -> None:
    """Raise when the folder is somebody's own: images, or Parquet files, of which this program wrote none."""
    if not folder.is_dir() or written(folder):
        return
    found = file_names(folder) if spec.layout == "hf_parquet" else image_names(folder)
    if any(not (content / path).is_file() for path in found):
        raise AtlasError(
            f"dataset {spec.name!r}: {folder} holds other files",
            expected="a new folder, or the images that were put there before",
            fix=where_to_extract(spec, folder),
        )


def _make(spec: DatasetSpec, data_root: Path, work: Path, make: Callable[[Path], None]) -> None:
    """Let `make` fill a folder, check that it is the dataset, then put its files in place."""
    content = work / "content-made"
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir(parents=True)
    make(content)
    read_dataset(spec.model_copy(update={"folder": str(content.absolute())}), data_root)
    folder = spec.path(data_root)
    _refuse_foreign(spec, folder, content)
    put(content, folder, fix=where_to_extract(spec, folder), replace_all=True)


def _clear(work: Path) -> None:
    """Remove what a fetch left in its work folder, and the folder unless somebody has put something else there."""
    for pattern in _PASSING:
        for passing in work.glob(pattern):
            shutil.rmtree(passing, ignore_errors=True)
    with suppress(OSError):
        work.rmdir()

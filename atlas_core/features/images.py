"""Decoding images and drawing their views, in worker processes that run ahead of the device.

Views are laid out as rows: row `r` is view `views[r % V]` of image `r // V`; a batch holds consecutive rows.
What a row holds depends on its image, its view and the seed alone; workers only decide who computes it.
"""

import multiprocessing
import os
import shutil
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from atlas_core.errors import AtlasError
from atlas_core.features.grey_levels import check_colour_depth, eight_bit_grey, is_deep, stored_as
from atlas_core.features.transforms import Recipe, draw_view

Workers = int | Literal["auto"]

SMALL_SET: Final = 2_000
"""Below this many views, starting worker processes costs more than it gains."""

_AHEAD: Final = 2
_MOST_WORKERS: Final = 16
_SHARED_MEMORY: Final = Path("/dev/shm")


@dataclass(frozen=True)
class ViewBatch:
    """Views of consecutive rows. Damaged images are left out of the arrays and named in `damaged`.

    Attributes:
        first_row, end_row: The rows that the batch stands for, damaged ones included.
        positions: int64 `[B]`, index of each view's image in `paths`.
        views: int16 `[B]`.
        pixels: uint8 `[B, 3, H, W]`.
        damaged: (path, reason) of the images that could not be decoded.
    """

    first_row: int
    end_row: int
    positions: npt.NDArray[np.int64]
    views: npt.NDArray[np.int16]
    pixels: Tensor
    damaged: tuple[tuple[str, str], ...]

    def pin_memory(self) -> "ViewBatch":
        """The batch with its pixels in page-locked memory, from where a copy to the device does not block."""
        return replace(self, pixels=self.pixels.pin_memory())


def decode_image(path: Path) -> Image.Image:
    """The image at `path` in RGB, as the published code sees it: PIL's `convert("RGB")`.

    An EXIF orientation is not applied, transparency is dropped, an animation gives its first frame, as there.
    One departure: grey levels of more than 8 bits, and fractions, are scaled to 8 bits, where PIL would clip them.

    Raises:
        AtlasError: The file is missing or damaged, or its levels are on no plain scale; names the path and the reason.
    """
    try:
        with Image.open(path) as image:
            if is_deep(image):
                return eight_bit_grey(image).convert("RGB")
            stored = stored_as(image)
            image.load()
            check_colour_depth(image, stored)
            return image.convert("RGB")
    except FileNotFoundError:
        raise AtlasError(
            f"image {path} is missing",
            expected="every image that the dataset's list names",
            fix="verify the dataset, and fetch it again if files are gone",
        ) from None
    except AtlasError as error:
        raise AtlasError(f"image {path} has {error.what}", expected=error.expected, fix=error.fix) from None
    # PIL's plugins answer damage with many kinds of exception (OSError, SyntaxError, ValueError, …).
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise AtlasError(
            f"image {path} cannot be decoded ({reason})",
            expected="a whole image file",
            fix="replace the file, or ask for damaged images to be skipped",
        ) from error


def iter_views(
    root: Path,
    paths: Sequence[str],
    views: Sequence[int] | int,
    *,
    seed: int,
    image_size: int,
    batch_size: int,
    recipe: Recipe = "random_resized_crop",
    workers: Workers = "auto",
    first_row: int = 0,
    skip_damaged: bool = False,
    pin_memory: bool = False,
) -> Generator[ViewBatch, None, None]:
    """Views of every image in order, batch by batch, from `first_row` on.

    Args:
        root: Folder that `paths` are relative to; a path is also the key of its image's random draws.
        views: View numbers, or how many (`range(views)`).
        workers: Decoding processes; 0 decodes in this one. "auto": none for a small set, else one a core.
        first_row: Where to start; batches are counted from there.
        skip_damaged: Leave damaged images out, and name them in their batch, rather than raise.

    Raises:
        AtlasError: An image is missing or damaged (unless skipped), or a worker process was killed.
    """
    numbers = tuple(range(views)) if isinstance(views, int) else tuple(views)
    source = _Views(root, tuple(paths), numbers, seed, image_size, batch_size, recipe, first_row)
    count = worker_count(workers, max(0, source.rows - first_row), batch_size, image_size)
    for batch in _batches(source, count, pin_memory):
        if batch.damaged and not skip_damaged:
            # Decoding it again here raises the error that names the path.
            for path, _ in batch.damaged:
                decode_image(root / path)
            raise AtlasError(f"image {batch.damaged[0][0]} could not be decoded: {batch.damaged[0][1]}")
        yield batch


def worker_count(workers: Workers, rows: int, batch_size: int, image_size: int) -> int:
    """How many decoding processes to start for `rows` views."""
    if multiprocessing.current_process().daemon:
        return 0  # such a process may have no children
    if workers == "auto" and rows < SMALL_SET:
        return 0
    count = min(_MOST_WORKERS, available_cores()) if workers == "auto" else workers
    if count < 0:
        raise AtlasError(f"{count} workers", expected="0 or more, or 'auto'")
    # Finished batches wait in shared memory, often 64 MB in a container: overrunning it kills workers.
    if _SHARED_MEMORY.is_dir():
        room = shutil.disk_usage(_SHARED_MEMORY).free * 0.8
        return min(count, int(room / ((_AHEAD + 1) * batch_size * 3 * image_size**2)))
    return count


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _batches(source: "_Views", workers: int, pin_memory: bool) -> Iterator[ViewBatch]:
    if not workers:
        yield from (source[index] for index in range(len(source)))
        return
    loader: DataLoader[ViewBatch] = DataLoader(
        source,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        pin_memory=pin_memory,
        multiprocessing_context=_context(),
        worker_init_fn=_end_with_parent,
    )
    try:
        yield from loader
    # A process that dies while its batch is being handed over shows as a broken connection. Errors of the
    # decoding itself are not of these kinds: `decode_image` makes them AtlasErrors.
    except (RuntimeError, ConnectionError, FileNotFoundError, EOFError) as error:
        if isinstance(error, RuntimeError) and "exited unexpectedly" not in str(error):
            raise
        raise AtlasError(
            "an image-decoding process was killed, most likely for want of memory",
            fix="use fewer workers or a smaller batch, then run again: finished shards are kept",
        ) from error


def _end_with_parent(worker: int) -> None:
    # torch's own watch compares parents' ids, and a fork server, which is the parent here, outlives the loader.
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _context() -> Any:
    # A fork would copy the locks of other threads (an orchestrator's, the device's) as they happen to be.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@dataclass(frozen=True)
class _Views(Dataset[ViewBatch]):
    root: Path
    paths: tuple[str, ...]
    views: tuple[int, ...]
    seed: int
    image_size: int
    batch_size: int
    recipe: Recipe
    first_row: int

    @property
    def rows(self) -> int:
        return len(self.paths) * len(self.views)

    def __len__(self) -> int:
        return max(0, -(-(self.rows - self.first_row) // self.batch_size))

    def __getitem__(self, index: int) -> ViewBatch:
        first = self.first_row + index * self.batch_size
        end = min(first + self.batch_size, self.rows)
        pixels = torch.empty((end - first, 3, self.image_size, self.image_size), dtype=torch.uint8)
        kept: list[int] = []
        damaged: list[tuple[str, str]] = []
        position, image = -1, None
        for row in range(first, end):
            if row // len(self.views) != position:
                position = row // len(self.views)
                try:
                    image = decode_image(self.root / self.paths[position])
                except AtlasError as error:
                    image = None
                    damaged.append((self.paths[position], error.what))
            if image is not None:
                path, view = self.paths[position], self.views[row % len(self.views)]
                pixels[len(kept)] = draw_view(image, path, view, self.seed, self.image_size, self.recipe)
                kept.append(row)
        rows = np.asarray(kept, dtype=np.int64)
        numbers = np.asarray(self.views, dtype=np.int16)[rows % len(self.views)]
        return ViewBatch(first, end, rows // len(self.views), numbers, pixels[: len(kept)], tuple(damaged))

"""From images on disk to a feature table or a pixel cache, resumable shard by shard."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.features.batch_size import automatic_batch_size, is_out_of_memory
from atlas_core.features.cache import FeatureTable, read_features, write_features
from atlas_core.features.image_source import ImageSource, Progress, Views, image_source
from atlas_core.features.images import ViewBatch, Workers
from atlas_core.features.pixels import PixelTable, read_pixels, write_pixels
from atlas_core.features.resizing import STANDARD, Resizing
from atlas_core.features.shards import ShardFolder, open_shards
from atlas_core.features.transforms import Recipe, normalise

Encode = Callable[[Tensor], Tensor]

PIXEL_SHARD_ROWS: Final = 256


def extract_features(
    encode: Encode,
    root: Path,
    paths: Sequence[str],
    labels: Sequence[int],
    *,
    n_views: Views,
    seed: int,
    image_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    out_dir: Path,
    device: torch.device | str = "cpu",
    batch_size: int | Literal["auto"] = "auto",
    workers: Workers = "auto",
    progress: Progress | None = None,
    items: Sequence[int] | None = None,
    recipe: Recipe = "random_resized_crop",
    resizing: Resizing = STANDARD,
    dtype: Literal["float32", "float16"] = "float32",
    skip_damaged: bool = False,
    identity: str = "",
    shard_seconds: float = 15.0,
) -> FeatureTable:
    """Encode every image's views; what was finished before an interruption is not computed again.

    A view's pixels depend on (path, view, seed) alone. Its features depend, in their last bits, on the batch
    size and the device's arithmetic; not on workers or interruptions, which leave the batches as they were.
    "auto" is a function of the tower, the image size and the kind of device, so that features computed twice
    are equal to the bit (unless memory runs out, when the batch is halved).

    Args:
        encode: Normalised float32 `[B, 3, H, W]` on `device` to raw features `[B, D]`; no gradients.
        root: Folder that `paths` are relative to.
        labels: One an image.
        n_views: Augmented views 0 … V-1 an image, or "test" for the test transform as view 0.
        out_dir: Work folder for finished shards. They stay: `discard_shards` once the table is saved.
        batch_size: Views a batch; "auto" is `automatic_batch_size`, halved when memory runs out.
        progress: Called as (rows done, rows in all), first with what an earlier run had finished.
        items: The number that stands for each image in the table; positions in `paths` by default.
        recipe: How augmented views are drawn (ignored for "test").
        resizing: Of the test transform (ignored for augmented views).
        dtype: Stored type of the features.
        skip_damaged: Leave damaged images out and name them in the table's `damaged`.
        identity: What names the encoder; shards of another identity or other inputs are dropped.
        shard_seconds: Work that a crash may lose.

    Raises:
        AtlasError: An image is missing or damaged, features are not finite, or memory runs out.
    """
    source = image_source(
        root,
        paths,
        labels,
        items,
        n_views,
        recipe,
        seed,
        image_size,
        workers,
        skip_damaged,
        progress,
        resizing,
    )
    key = source.identity(mean=mean, std=std, encoder=identity, dtype=dtype)
    work = open_shards(out_dir, ".parquet", key, _is_readable(read_features))
    target = torch.device(device)
    if batch_size != "auto":
        work.set_batch_size(batch_size)
    elif work.batch_size is None:
        work.set_batch_size(automatic_batch_size(encode, image_size, target))
    source.progress(work.next_row, source.rows)
    while work.next_row < source.rows:
        size = work.batch_size or 1
        try:
            _encode_shards(encode, source, work, target, size, (mean, std), dtype, shard_seconds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            _refuse_to_halve(batch_size, size, target, error)
            work.set_batch_size(size // 2)
    return _assembled(source, work)


def extract_pixels(
    root: Path,
    paths: Sequence[str],
    labels: Sequence[int],
    *,
    n_views: Views,
    seed: int,
    image_size: int,
    out_dir: Path,
    workers: Workers = "auto",
    progress: Progress | None = None,
    items: Sequence[int] | None = None,
    recipe: Recipe = "random_resized_crop",
    resizing: Resizing = STANDARD,
    skip_damaged: bool = False,
) -> PixelTable:
    """Write the pixel cache of every image's views into the folder `out_dir`, resuming what is there.

    Arguments as in `extract_features`; the views are what it encodes for the same paths, seed and recipe.

    Raises:
        AtlasError: An image is missing or damaged.
    """
    source = image_source(
        root,
        paths,
        labels,
        items,
        n_views,
        recipe,
        seed,
        image_size,
        workers,
        skip_damaged,
        progress,
        resizing,
    )
    work = open_shards(out_dir, ".arrow", source.identity(), _is_readable(read_pixels))
    work.set_batch_size(PIXEL_SHARD_ROWS)
    source.progress(work.next_row, source.rows)
    with closing(source.batches(work.next_row, PIXEL_SHARD_ROWS)) as batches:
        for batch in batches:
            path = work.path_until(batch.end_row)
            items_, labels_ = source.items[batch.positions], source.labels[batch.positions]
            write_pixels(path, items_, batch.views, labels_, batch.pixels.numpy(), dict(batch.damaged))
            work.add(path, batch.end_row)
            source.progress(batch.end_row, source.rows)
    return read_pixels(out_dir)


def discard_shards(out_dir: Path) -> None:
    """Remove the shards of `extract_features` from `out_dir`, and the folder if nothing else is in it."""
    if out_dir.is_dir():
        ShardFolder(out_dir, ".parquet", "").clear()
        if not any(out_dir.iterdir()):
            out_dir.rmdir()


def _is_readable(read: Callable[[Path], object]) -> Callable[[Path], bool]:
    def attempt(path: Path) -> bool:
        try:
            read(path)
        except AtlasError:
            return False
        return True

    return attempt


def _encode_shards(
    encode: Encode,
    source: ImageSource,
    work: ShardFolder,
    device: torch.device,
    size: int,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    dtype: str,
    shard_seconds: float,
) -> None:
    pending: list[tuple[ViewBatch, Tensor]] = []
    opened = time.monotonic()
    batches = source.batches(work.next_row, size, pin_memory=device.type == "cuda")
    with closing(batches), torch.inference_mode():
        try:
            for batch in batches:
                # Bytes cross to the device, a quarter of the floats; kernels queue up and nothing waits here.
                pixels = batch.pixels.to(device, non_blocking=True)
                pending.append((batch, _encoded(encode, normalise(pixels, *statistics))))
                if time.monotonic() - opened >= shard_seconds:
                    _finish_shard(source, work, pending, dtype)
                    opened = time.monotonic()
                source.progress(batch.end_row, source.rows)
        finally:
            # Whatever ended the loop, finished batches count.
            _finish_shard(source, work, pending, dtype)


def _encoded(encode: Encode, pixels: Tensor) -> Tensor:
    if not len(pixels):
        return pixels.new_empty(0, 0)
    features = encode(pixels)
    if features.ndim != 2 or len(features) != len(pixels):
        raise AtlasError(f"encoder output of shape {tuple(features.shape)}", expected=f"[{len(pixels)}, D]")
    return features


def _finish_shard(
    source: ImageSource, work: ShardFolder, pending: list[tuple[ViewBatch, Tensor]], dtype: str
) -> None:
    if not pending:
        return
    finished = pending.copy()
    pending.clear()  # first, so that features which are refused are not tried again
    batches = [batch for batch, _ in finished]
    positions = np.concatenate([batch.positions for batch in batches])
    features = torch.cat([each for _, each in finished if len(each)] or [torch.empty(0, 1)])
    end_row = batches[-1].end_row
    path = work.path_until(end_row)
    write_features(
        path,
        source.items[positions],
        np.concatenate([batch.views for batch in batches]),
        source.labels[positions],
        features.float().cpu().numpy(),
        dtype=dtype,
        damaged=dict(pair for batch in batches for pair in batch.damaged),
    )
    work.add(path, end_row)


def _assembled(source: ImageSource, work: ShardFolder) -> FeatureTable:
    tables = [read_features(path) for path in work.shards]
    damaged = {name: reason for table in tables for name, reason in table.damaged.items()}
    whole = [table for table in tables if len(table)]
    if not whole:
        raise AtlasError(f"none of {len(source.paths)} images under {source.root} could be decoded")
    items, views, labels, features = (
        np.concatenate([getattr(table, name) for table in whole])
        for name in ("items", "views", "labels", "features")
    )
    return FeatureTable(items, views, labels, features, damaged)


def _refuse_to_halve(asked: int | str, size: int, device: torch.device, error: Exception) -> None:
    if asked == "auto" and size > 1:
        return
    raise AtlasError(
        f"batches of {size} images do not fit into the memory of {device}",
        fix="use a smaller batch size, or 'auto'" if size > 1 else "use a device with more memory",
    ) from error

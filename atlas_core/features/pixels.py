"""The pixel cache: decoded, resized uint8 views for methods that train through the image tower.

A cache is one Arrow IPC file or a folder of them (the shards of an extraction), uncompressed with one
FixedSizeBinary a view, and memory-mapped: opening costs nothing, a batch reads its own rows, and several
processes share the pages.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.features.atomic import replacing
from atlas_core.features.cache import sorted_pairs, view_grid

_META: Final = b"atlas.pixels"


@dataclass(frozen=True)
class PixelTable:
    """uint8 views of (item, view) pairs, sorted by item, then view.

    Attributes:
        items, views, labels: int32, int16, int32 `[N·V]`.
        pieces: Memory-mapped uint8 `[n, 3, H, W]` arrays, the rows in order.
        damaged: Path to reason, of images that were skipped because they could not be decoded.
    """

    items: npt.NDArray[np.int32]
    views: npt.NDArray[np.int16]
    labels: npt.NDArray[np.int32]
    pieces: tuple[npt.NDArray[np.uint8], ...]
    damaged: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def grid(self) -> tuple[int, int]:
        """(N, V): items times views. Raises AtlasError when items do not have the same views."""
        return self._grid

    @cached_property
    def _grid(self) -> tuple[int, int]:
        return view_grid(self.items, self.views)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum([0] + [len(piece) for piece in self.pieces])

    @property
    def item_numbers(self) -> npt.NDArray[np.int32]:
        """int32 `[N]`: each item once, ascending; a `row` of `batch` counts in this order."""
        return np.unique(self.items)

    @property
    def item_labels(self) -> npt.NDArray[np.int32]:
        """int32 `[N]`: each item's label, once."""
        return self.labels[np.unique(self.items, return_index=True)[1]]

    def batch(self, rows: npt.ArrayLike, views: npt.ArrayLike) -> Tensor:
        """uint8 `[B, 3, H, W]`: for each row (position in `item_numbers`), its view of that number.

        Args:
            rows: Integers `[B]` in 0 … N-1.
            views: Integers `[B]`, or one for all.

        Raises:
            AtlasError: A row or view is not in the cache.
        """
        count, per_item = self._grid
        numbers = self.views[:per_item]
        wanted_rows, wanted_views = np.broadcast_arrays(np.asarray(rows), np.asarray(views))
        places = np.searchsorted(numbers, wanted_views).clip(max=per_item - 1)
        if (numbers[places] != wanted_views).any() or ((wanted_rows < 0) | (wanted_rows >= count)).any():
            raise AtlasError(
                f"rows {wanted_rows.tolist()} with views {wanted_views.tolist()} of the pixel cache",
                expected=f"rows below {count} and views among {numbers.tolist()}",
            )
        flat = wanted_rows * per_item + places
        owners = np.searchsorted(self._starts, flat, side="right") - 1
        out = np.empty((len(flat), *self.pieces[0].shape[1:]), dtype=np.uint8)
        for slot, (row, owner) in enumerate(zip(flat, owners, strict=True)):
            out[slot] = self.pieces[owner][row - self._starts[owner]]
        return torch.from_numpy(out)


def write_pixels(
    path: Path,
    items: npt.ArrayLike,
    views: npt.ArrayLike,
    labels: npt.ArrayLike,
    pixels: npt.NDArray[np.uint8],
    damaged: Mapping[str, str] | None = None,
) -> None:
    """Write one pixel file in one atomic step.

    Args:
        items, views, labels: Integers `[N]`.
        pixels: uint8 `[N, 3, H, W]`.
        damaged: Path to reason, of skipped images.

    Raises:
        AtlasError: Shapes do not agree, or a pair occurs twice.
    """
    pairs = sorted_pairs(path, items, views, labels)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != len(pairs.items):
        raise AtlasError(
            f"pixels of shape {pixels.shape} and type {pixels.dtype} for {path}",
            expected=f"uint8 [{len(pairs.items)}, 3, H, W]",
        )
    meta = {"shape": pixels.shape[1:], "damaged": dict(damaged or {})}
    stored = np.ascontiguousarray(pixels[pairs.order])
    kind = pa.binary(int(np.prod(pixels.shape[1:])))
    column = pa.FixedSizeBinaryArray.from_buffers(kind, len(stored), [None, pa.py_buffer(stored)])
    batch = pa.record_batch(
        {"item": pairs.items, "view": pairs.views, "label": pairs.labels, "pixels": column},
    ).replace_schema_metadata({_META: json.dumps(meta, sort_keys=True)})
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def read_pixels(path: Path) -> PixelTable:
    """Open a pixel file, or a folder of them in the order of their names. No pixel is read yet.

    Raises:
        AtlasError: Nothing there, a file is not whole, or files overlap or have different image sizes.
    """
    files = sorted(path.glob("*.arrow")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise AtlasError(f"no pixel cache at {path}", fix="run the stage that decodes images")
    parts = [_open(file) for file in files]
    if len({part.pieces[0].shape[1:] for part in parts}) != 1:
        raise AtlasError(
            f"pixel files in {path} have different image sizes", fix="delete them and decode again"
        )
    columns = [
        np.concatenate([getattr(part, name) for part in parts]) for name in ("items", "views", "labels")
    ]
    pairs = columns[0].astype(np.int64) << 16 | columns[1].astype(np.int64)
    if (np.diff(pairs) <= 0).any():
        raise AtlasError(f"pixel files in {path} overlap", fix="delete them and decode again")
    damaged = {name: reason for part in parts for name, reason in part.damaged.items()}
    return PixelTable(columns[0], columns[1], columns[2], _pieces(parts), damaged)


def _pieces(parts: Sequence[PixelTable]) -> tuple[npt.NDArray[np.uint8], ...]:
    return tuple(piece for part in parts for piece in part.pieces)


def _open(path: Path) -> PixelTable:
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        meta: dict[str, Any] = json.loads((batch.schema.metadata or {})[_META])
        buffer = batch["pixels"].buffers()[1]
        shape = (len(batch), *meta["shape"])
        pixels = np.frombuffer(buffer or b"", dtype=np.uint8, count=int(np.prod(shape))).reshape(shape)
        items, views, labels = (batch[name].to_numpy() for name in ("item", "view", "label"))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise AtlasError(
            f"{path} is not a whole pixel file ({type(error).__name__}: {error})",
            fix="delete the file and decode again",
        ) from error
    return PixelTable(items, views, labels, (pixels,), meta["damaged"])

"""File layouts for the feature and the pixel cache: what each costs to write and to read.

Each is written and read several times in a folder that is then removed, the page cache warm. The caches use
the layouts marked as chosen; the plain `.npy` files are the floor.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_core.features.cache import read_features, write_features
from atlas_core.features.pixels import read_pixels, write_pixels

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """A way to store an array; `chosen` where a cache uses it."""

    name: str
    write: Callable[[Path, Array], object]
    read: Callable[[Path], object]
    chosen: bool = False


@dataclass(frozen=True)
class Measurement:
    """Best (wall, processor) seconds, and bytes on disk."""

    layout: Layout
    write: tuple[float, float]
    read: tuple[float, float]
    size: int


def feature_layouts(rows: int) -> list[Layout]:
    """Name, writer and reader of each candidate for float `[N, D]` features."""
    items, views = np.arange(rows, dtype=np.int32), np.zeros(rows, dtype=np.int16)

    def cached(dtype: str) -> Callable[[Path, Array], object]:
        return lambda path, array: write_features(path, items, views, items, array, dtype=dtype)

    def fixed_list(**options: Any) -> Callable[[Path, Array], object]:
        def write(path: Path, array: Array) -> None:
            column = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
            pq.write_table(pa.table({"item": items, "feature": column}), path, **options)

        return write

    def read_list(path: Path) -> Array:
        column = pq.read_table(path)["feature"].combine_chunks()
        return np.asarray(column.flatten()).reshape(len(column), -1)

    split = {
        "use_dictionary": False,
        "compression": "none",
        "column_encoding": {"feature.list.element": _SPLIT},
    }
    plain = {"use_dictionary": False, "compression": "none"}
    half = _as_half
    return [
        Layout("Parquet FixedSizeBinary float32", cached("float32"), read_features, chosen=True),
        Layout("Parquet FixedSizeBinary float16", cached("float16"), read_features, chosen=True),
        Layout("Parquet FixedSizeList float32, plain", fixed_list(**plain), read_list),
        Layout("Parquet FixedSizeList float32, byte-stream-split", fixed_list(**split), read_list),
        Layout("Parquet FixedSizeList float16, byte-stream-split", half(fixed_list(**split)), read_list),
        Layout("Parquet FixedSizeList float32, snappy and dictionary", fixed_list(), read_list),
        Layout(".npy float32", _save_npy, np.load),
        Layout(".npy float16", half(_save_npy), np.load),
    ]


def pixel_layouts(size: int, picks: Array) -> list[Layout]:
    """Name, writer and reader of each candidate for uint8 `[N, 3, size, size]`; rows `picks` are read."""

    def columns(array: Array) -> tuple[Array, Array, Array]:
        items = np.arange(len(array), dtype=np.int32)
        return items, np.zeros(len(array), dtype=np.int16), items

    def read_parquet(path: Path) -> object:
        column = pq.read_table(path, memory_map=True)["pixels"].combine_chunks()
        return np.frombuffer(column.buffers()[1], np.uint8).reshape(len(column), -1)[picks]

    def write_parquet(path: Path, array: Array) -> None:
        kind = pa.binary(3 * size * size)
        column = pa.FixedSizeBinaryArray.from_buffers(kind, len(array), [None, pa.py_buffer(array)])
        pq.write_table(pa.table({"pixels": column}), path, use_dictionary=False, compression="none")

    return [
        Layout(
            "Arrow IPC FixedSizeBinary, memory-mapped",
            lambda path, array: write_pixels(path, *columns(array), array),
            lambda path: read_pixels(path).batch(picks, 0),
            chosen=True,
        ),
        Layout("Parquet FixedSizeBinary, memory-mapped", write_parquet, read_parquet),
        Layout(".npy, memory-mapped", _save_npy, lambda path: np.load(path, mmap_mode="r")[picks]),
    ]


def measure(layouts: Sequence[Layout], array: Array, folder: Path, repeats: int) -> Iterator[Measurement]:
    """Best times of `repeats`, and the size, of each layout for one array."""
    for number, layout in enumerate(layouts):
        path = folder / f"layout-{number}"
        write = best_clocks(lambda: layout.write(path, array), repeats)  # noqa: B023
        read = best_clocks(lambda: layout.read(path), repeats)  # noqa: B023
        yield Measurement(layout, write, read, path.stat().st_size)
        path.unlink()


_SPLIT = "BYTE_STREAM_SPLIT"


def _as_half(write: Callable[[Path, Array], object]) -> Callable[[Path, Array], object]:
    return lambda path, array: write(path, array.astype(np.float16))


def _save_npy(path: Path, array: Array) -> None:
    with path.open("wb") as stream:
        np.save(stream, array)


def best_clocks(action: Callable[[], object], repeats: int) -> tuple[float, float]:
    """The least wall and the least processor seconds (over all threads) of `repeats` calls."""
    clocks = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        action()
        clocks.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(wall for wall, _ in clocks), min(processor for _, processor in clocks)

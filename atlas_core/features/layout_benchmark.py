"""Measures file layouts for the feature and pixel caches.

    python -m atlas_core.features.layout_benchmark [--rows 50000] [--width 512] [--folder DIR]

Each layout is written (to disk, synced) and read (page cache warm) `--repeats` times in a folder that is then
removed; the table gives the median in milliseconds and the size. The caches use the layouts marked with `*`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_core.features.cache import read_features, write_features
from atlas_core.features.pixels import read_pixels, write_pixels

Array = npt.NDArray[Any]
Layout = tuple[str, Callable[[Path, Array], object], Callable[[Path], object]]


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
        ("* Parquet FixedSizeBinary float32", cached("float32"), read_features),
        ("  Parquet FixedSizeBinary float16", cached("float16"), read_features),
        ("  Parquet FixedSizeList float32, plain", fixed_list(**plain), read_list),
        ("  Parquet FixedSizeList float32, byte-stream-split", fixed_list(**split), read_list),
        ("  Parquet FixedSizeList float16, byte-stream-split", half(fixed_list(**split)), read_list),
        ("  Parquet FixedSizeList float32, snappy + dictionary", fixed_list(), read_list),
        ("  .npy float32", lambda path, array: _save_npy(path, array), np.load),
        ("  .npy float16", half(lambda path, array: _save_npy(path, array)), np.load),
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
        (
            "* Arrow IPC FixedSizeBinary, memory-mapped",
            lambda path, array: write_pixels(path, *columns(array), array),
            lambda path: read_pixels(path).batch(picks, np.zeros(len(picks), dtype=np.int16)),
        ),
        ("  Parquet FixedSizeBinary, memory-mapped", write_parquet, read_parquet),
        (
            "  .npy, memory-mapped",
            lambda path, array: _save_npy(path, array),
            lambda path: np.load(path, mmap_mode="r")[picks],
        ),
    ]


def measure(
    layouts: list[Layout], array: Array, folder: Path, repeats: int
) -> Iterator[tuple[str, float, float, int]]:
    """Name, median write ms, median read ms and bytes of each layout."""
    for number, (name, write, read) in enumerate(layouts):
        path = folder / f"layout-{number}"
        writes = [_milliseconds(lambda w=write, p=path: w(p, array)) for _ in range(repeats)]  # type: ignore[misc]
        reads = [_milliseconds(lambda r=read, p=path: r(p)) for _ in range(repeats)]  # type: ignore[misc]
        yield name, statistics.median(writes), statistics.median(reads), path.stat().st_size
        path.unlink()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where to write")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    features = generator.standard_normal((options.rows, options.width), dtype=np.float32)
    pixels = generator.integers(0, 256, (options.images, 3 * options.image_size**2), dtype=np.uint8)
    pixels = pixels.reshape(options.images, 3, options.image_size, options.image_size)
    picks = generator.integers(0, options.images, 32)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for title, layouts, array in (
            (f"features {features.shape}", feature_layouts(options.rows), features),
            (
                f"pixels {pixels.shape}, reading 32 rows at random",
                pixel_layouts(options.image_size, picks),
                pixels,
            ),
        ):
            print(f"{title:58} {'write ms':>9} {'read ms':>9} {'MB':>8}")
            for name_, write_ms, read_ms, size in measure(layouts, array, Path(name), options.repeats):
                print(f"{name_:58} {write_ms:9.1f} {read_ms:9.2f} {size / 1e6:8.1f}", flush=True)


_SPLIT = "BYTE_STREAM_SPLIT"


def _as_half(write: Callable[[Path, Array], object]) -> Callable[[Path, Array], object]:
    return lambda path, array: write(path, array.astype(np.float16))


def _save_npy(path: Path, array: Array) -> None:
    with path.open("wb") as stream:
        np.save(stream, array)


def _milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()

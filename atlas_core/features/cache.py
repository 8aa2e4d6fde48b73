"""The feature cache: raw image features of (item, view) pairs in one Parquet file.

Layout, chosen by measurement (`atlas_core.bench.file_layouts`): columns `item` int32, `view` int16,
`label` int32 and `feature` FixedSizeBinary (little-endian floats), uncompressed, one row group; the schema's
metadata hold dtype, width and the damaged images. `feature_relation` shows the vectors to SQL.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_core.errors import AtlasError
from atlas_core.features.atomic import replacing

Float = npt.NDArray[np.floating[Any]]
FeatureDtype = Literal["float32", "float16"]

_DTYPES: Final = ("float32", "float16")
_META: Final = b"atlas.features"
_HALF_EXPONENT: Final = np.uint16(0x7C00)


@dataclass(frozen=True)
class FeatureTable:
    """Features of (item, view) pairs, sorted by item, then view. Arrays may be read-only views of a file.

    Attributes:
        items: int32 `[N]`, which image; the writer says what the number counts (positions in an index).
        views: int16 `[N]`, which augmented view (0 for the test transform).
        labels: int32 `[N]`.
        features: float32 or float16 `[N, D]`, raw (not normalised).
        damaged: Path to reason, of images that were skipped because they could not be decoded.
    """

    items: npt.NDArray[np.int32]
    views: npt.NDArray[np.int16]
    labels: npt.NDArray[np.int32]
    features: Float
    damaged: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def width(self) -> int:
        """D."""
        return int(self.features.shape[1])

    @property
    def view_numbers(self) -> npt.NDArray[np.int16]:
        """int16 `[V]`: the views that occur, ascending."""
        return np.unique(self.views)

    @property
    def item_numbers(self) -> npt.NDArray[np.int32]:
        """int32 `[N]`: each item once, ascending; the order of `bank`, `item_labels` and `features_of`."""
        return np.unique(self.items)

    @property
    def item_labels(self) -> npt.NDArray[np.int32]:
        """int32 `[N]`: each item's label, once."""
        return self.labels[np.unique(self.items, return_index=True)[1]]

    def features_of(self, view: int) -> npt.NDArray[np.float32]:
        """float32 `[N, D]`: every item's features in one view.

        Raises:
            AtlasError: No item has that view.
        """
        rows = np.flatnonzero(self.views == view)
        if not len(rows):
            raise AtlasError(
                f"view {view} is not in the table", expected=f"one of {self.view_numbers.tolist()}"
            )
        return self.features[rows].astype(np.float32)

    def bank(self) -> npt.NDArray[np.float32]:
        """float32 `[N, V, D]`: every item's features in every view; a writable copy.

        Raises:
            AtlasError: Items do not have the same views.
        """
        return self.features.astype(np.float32).reshape(*self.grid(), self.width)

    def grid(self) -> tuple[int, int]:
        """(N, V): items times views. Raises AtlasError when items do not have the same views."""
        return view_grid(self.items, self.views)


def view_grid(items: npt.NDArray[np.int32], views: npt.NDArray[np.int16]) -> tuple[int, int]:
    """(N, V) of sorted (item, view) pairs that form a whole grid.

    Raises:
        AtlasError: Some item lacks a view that another one has.
    """
    numbers = np.unique(views)
    count, per_item = len(np.unique(items)), len(numbers)
    if len(items) != count * per_item or not (views.reshape(count, per_item) == numbers).all():
        raise AtlasError(
            f"{count} items do not all have the {per_item} views", expected="every view of every item"
        )
    return count, per_item


def write_features(
    path: Path,
    items: npt.ArrayLike,
    views: npt.ArrayLike,
    labels: npt.ArrayLike,
    features: Float,
    dtype: str = "float32",
    damaged: Mapping[str, str] | None = None,
) -> None:
    """Write a feature file, sorted by (item, view), in one atomic step.

    Args:
        items, views, labels: Integers `[N]`.
        features: Floats `[N, D]`, raw.
        dtype: Stored type, "float32" or "float16".
        damaged: Path to reason, of skipped images.

    Raises:
        AtlasError: Lengths differ, a pair occurs twice, or a value is NaN or infinite in the stored type.
    """
    if dtype not in _DTYPES:
        raise AtlasError(f"feature dtype {dtype!r}", expected=f"one of {', '.join(_DTYPES)}")
    pairs = sorted_pairs(path, items, views, labels)
    if features.ndim != 2 or len(features) != len(pairs.items) or not features.shape[1]:
        raise AtlasError(
            f"features of shape {features.shape} for {path}", expected=f"[{len(pairs.items)}, D]"
        )
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(features[pairs.order], dtype=np.dtype(dtype).newbyteorder("<"))
    _refuse_non_finite(path, stored, pairs.items)
    meta = {"dtype": dtype, "width": stored.shape[1], "damaged": dict(damaged or {})}
    kind = pa.binary(stored.itemsize * stored.shape[1])
    vectors = pa.FixedSizeBinaryArray.from_buffers(kind, len(stored), [None, pa.py_buffer(stored)])
    table = pa.table({"item": pairs.items, "view": pairs.views, "label": pairs.labels, "feature": vectors})
    table = table.replace_schema_metadata({_META: json.dumps(meta, sort_keys=True)})
    with replacing(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=max(1, len(table)),
            use_dictionary=False,
            compression="none",
            write_statistics=["item", "view", "label"],
            write_page_checksum=True,
        )


def read_features(path: Path) -> FeatureTable:
    """Read a feature file; the features are a view of the buffer that Parquet decoded, not a copy.

    Raises:
        AtlasError: The file is missing, is not a feature file, or holds NaN or an infinity.
    """
    table, meta = _open(path)
    width, dtype = int(meta["width"]), np.dtype(meta["dtype"]).newbyteorder("<")
    column = table["feature"].combine_chunks()
    if column.type.byte_width != width * dtype.itemsize:
        raise AtlasError(
            f"features in {path} are {column.type.byte_width} bytes wide",
            expected=f"{width} × {dtype.name}",
            fix="delete the file and compute it again",
        )
    features = np.frombuffer(column.buffers()[1] or b"", dtype=dtype, count=len(column) * width)
    features = features.reshape(len(column), width)
    items = table["item"].to_numpy()
    _refuse_non_finite(path, features, items)
    return FeatureTable(items, table["view"].to_numpy(), table["label"].to_numpy(), features, meta["damaged"])


def feature_relation(paths: Path | Sequence[Path]) -> pa.Table:
    """Feature files as one Arrow table for SQL: `file`, `item`, `view`, `label`, `feature` (list of float).

    float32 vectors are not copied. With DuckDB: `connection.register("features", feature_relation(paths))`,
    after which `array_cosine_similarity(a.feature, b.feature)` and the like work.

    Raises:
        AtlasError: No files, or files of different widths.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    tables = {path: read_features(path) for path in files}
    widths = {str(path): table.width for path, table in tables.items()}
    if len(set(widths.values())) != 1:
        raise AtlasError(f"feature files of widths {widths}", expected="one or more files of one width")
    return pa.concat_tables(_relation(path, table) for path, table in tables.items())


def _relation(path: Path, table: FeatureTable) -> pa.Table:
    values = pa.array(table.features.astype(np.float32, copy=False).reshape(-1))
    return pa.table(
        {
            "file": pa.DictionaryArray.from_arrays(np.zeros(len(table), dtype=np.int32), [str(path)]),
            "item": table.items,
            "view": table.views,
            "label": table.labels,
            "feature": pa.FixedSizeListArray.from_arrays(values, table.width),
        }
    )


@dataclass(frozen=True)
class SortedPairs:
    """Checked (item, view) pairs with their labels, sorted; `order` sorts whatever else goes with them."""

    items: npt.NDArray[np.int32]
    views: npt.NDArray[np.int16]
    labels: npt.NDArray[np.int32]
    order: npt.NDArray[np.intp] | slice


def sorted_pairs(
    path: Path, items: npt.ArrayLike, views: npt.ArrayLike, labels: npt.ArrayLike
) -> SortedPairs:
    """Sort (item, view) pairs for `path`; AtlasError when lengths differ or a pair occurs twice."""
    columns = np.asarray(items, np.int32), np.asarray(views, np.int16), np.asarray(labels, np.int32)
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise AtlasError(
            f"items, views and labels of shapes {[column.shape for column in columns]} for {path}",
            expected="three vectors of one length",
        )
    pairs = columns[0].astype(np.int64) << 16 | columns[1].astype(np.int64)
    order: npt.NDArray[np.intp] | slice = slice(None)
    if (np.diff(pairs) <= 0).any():
        order = np.argsort(pairs, kind="stable")
        pairs = pairs[order]
        if twice := np.flatnonzero(np.diff(pairs) == 0).tolist():
            item, view = int(pairs[twice[0]]) >> 16, int(pairs[twice[0]]) & 0xFFFF
            raise AtlasError(
                f"item {item} has view {view} twice in {path}", expected="one row an item and view"
            )
    return SortedPairs(columns[0][order], columns[1][order], columns[2][order], order)


def _open(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    if not path.is_file():
        raise AtlasError(f"feature file {path} is missing", fix="run the stage that computes image features")
    try:
        table = pq.read_table(path, memory_map=True, partitioning=None, page_checksum_verification=True)
        meta = json.loads((table.schema.metadata or {})[_META])
        return table.select(["item", "view", "label", "feature"]), cast(dict[str, Any], meta)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise AtlasError(
            f"{path} is not a whole feature file ({type(error).__name__}: {error})",
            expected="what write_features wrote",
            fix="delete the file and compute it again",
        ) from error


def _refuse_non_finite(path: Path, features: Float, items: npt.NDArray[np.int32]) -> None:
    flat = features.reshape(-1)
    # A finite sum of squares proves every float32 finite, at a third of the cost of looking at each.
    with np.errstate(over="ignore"):
        if features.dtype == np.float32 and np.isfinite(np.dot(flat, flat)):
            return
    if (
        features.dtype == np.float16
        and not ((features.view(np.uint16) & _HALF_EXPONENT) == _HALF_EXPONENT).any()
    ):
        return
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise AtlasError(
            f"{len(bad)} of {len(items)} features for {path} hold NaN or infinity, as item {items[bad[0]]}",
            expected=f"finite {features.dtype.name} values",
            fix="check the weights and the precision that the features were computed with",
        )

"""The columns of a CSV, TSV or Parquet file of labels, read within bounds, and the check of their cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atlas_core.budgets import CELL, COLUMNS, ROWS
from atlas_core.errors import AtlasError

_BATCH_ROWS = 1 << 16


def parquet_columns(path: Path) -> Mapping[str, list[Any]]:
    """The columns of a Parquet table by name, each read when it is asked for.

    Raises:
        AtlasError: It cannot be read, or is too large.
    """
    return _ParquetColumns(path)


def check_cell(value: Any, where: str) -> Any:
    """A cell that a class, a path or a split may be made of; NaN, which pandas writes for nothing, becomes None.

    Raises:
        AtlasError: It is no text or number (a list, bytes, a date), or a text of a page; `where` names it.
    """
    if isinstance(value, str):
        CELL.check(len(value), where)
    elif isinstance(value, float) and math.isnan(value):
        return None
    elif value is not None and not isinstance(value, (int, float)):
        raise _no_cell(where, type(value).__name__)
    return value


def _no_cell(where: str, kind: str) -> AtlasError:
    return AtlasError(
        f"{where} holds a value of type {kind}",
        expected="text or a number",
        fix="write the column as text, or name another one under options.columns",
    )


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn what Arrow and the disk say of a Parquet file that is read inside into one error.

    Raises:
        AtlasError: The file is damaged, or is no Parquet file.
    """
    import pyarrow as pa

    try:
        yield
    except AtlasError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise AtlasError(f"{path} cannot be read: {reason}", expected="a whole Parquet file") from error


class _ParquetColumns(Mapping[str, "list[Any]"]):
    """The columns of a Parquet file."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        with parquet_errors(path), pq.ParquetFile(path) as file:
            self._kinds = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
            ROWS.check(file.metadata.num_rows, str(path))
            COLUMNS.check(len(self._kinds), str(path))
        self._text = [
            name
            for name, kind in self._kinds.items()
            if pa.types.is_string(kind) or pa.types.is_large_string(kind)
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, name: str) -> list[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kind = self._kinds[name]
        where = f"{self._path}, column {name!r}"
        if pa.types.is_nested(kind):
            raise _no_cell(where, str(kind))
        values: list[Any] = []
        # As dictionaries: a text that is run-length encoded stays one text, however often it is repeated.
        with parquet_errors(self._path), pq.ParquetFile(self._path, read_dictionary=self._text) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[name]):
                column = batch.column(0)
                if not isinstance(column, pa.DictionaryArray):
                    values += [check_cell(value, where) for value in column.to_pylist()]
                    continue
                words = [check_cell(value, where) for value in column.dictionary.to_pylist()]
                values += [None if code is None else words[code] for code in column.indices.to_pylist()]
        return values

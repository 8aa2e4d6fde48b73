"""The result tables: their columns and types. Stages write them, views read them; `columns` says what they mean.

A stage names the one table that it writes, so that a column in another makes none of its artifacts stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_core.errors import AtlasError

_TEXT, _INT32, _INT64, _FLOAT = pa.string(), pa.int32(), pa.int64(), pa.float64()

RUNS = pa.schema(
    {
        "run_id": _TEXT,
        "run_name": _TEXT,
        "study": _TEXT,
        "protocol": _TEXT,
        "dataset": _TEXT,
        "method": _TEXT,
        "supervision": _TEXT,
        "source": _TEXT,
        "mix": _FLOAT,
        "temperature": _FLOAT,
        "soft_temperature": _FLOAT,
        "soft_entropy": _FLOAT,
        "soft_true_mass": _FLOAT,
        "soft_top3_mass": _FLOAT,
        "period": _INT32,
        "shots": _INT32,
        "seed": _INT32,
        "backbone": _TEXT,
        "epochs": _INT32,
        "batch_size": _INT32,
        "learned_parameters": _INT64,
        "first_loss": _FLOAT,
        "final_loss": _FLOAT,
        "wall_seconds": _FLOAT,
        "cpu_seconds": _FLOAT,
        "key": _TEXT,
        "options": _TEXT,
        "stand_in": _TEXT,
    }
)
METRICS = pa.schema(
    {
        "run_id": _TEXT,
        "protocol": _TEXT,
        "target": _TEXT,
        "subset": _TEXT,
        "n_classes": _INT32,
        "n_samples": _INT32,
        "accuracy": _FLOAT,
        "macro_f1": _FLOAT,
        "top5": _FLOAT,
        "ece": _FLOAT,
        "nll": _FLOAT,
    }
)
PREDICTIONS = pa.schema(
    {
        "run_id": _TEXT,
        "target": _TEXT,
        "subset": _TEXT,
        "item": _TEXT,
        "label": _INT32,
        "prediction": _INT32,
        "probability": pa.float32(),
        "label_probability": pa.float32(),
        "label_log_probability": pa.float32(),
        "top5": pa.list_(_INT32),
    }
)
CURVES = pa.schema(
    {
        "run_id": _TEXT,
        "epoch": _INT32,
        "loss": _FLOAT,
        "cross_entropy": _FLOAT,
        "target": _TEXT,
        "learning_rate": _FLOAT,
        "train_accuracy": _FLOAT,
    }
)
CLASSES = pa.schema(
    {
        "target": _TEXT,
        "subset": _TEXT,
        "label": _INT32,
        "class_name": _TEXT,
    }
)
DATASETS = pa.schema(
    {
        "name": _TEXT,
        "plain_name": _TEXT,
        "place": _TEXT,
        "content": _TEXT,
        "published": _TEXT,
        "partial": _TEXT,
        "classes": _INT32,
        "train": _INT32,
        "val": _INT32,
        "test": _INT32,
        "smallest_class": _INT32,
        "smallest_base_class": _INT32,
    }
)
ARTIFACTS = pa.schema(
    {
        "stage": _TEXT,
        "name": _TEXT,
        "key": _TEXT,
        "wall_seconds": _FLOAT,
        "cpu_seconds": _FLOAT,
        "bytes": _INT64,
        "created": _TEXT,
    }
)
SCHEMAS: dict[str, pa.Schema] = {
    "runs": RUNS,
    "metrics": METRICS,
    "predictions": PREDICTIONS,
    "curves": CURVES,
    "classes": CLASSES,
    "datasets": DATASETS,
    "artifacts": ARTIFACTS,
}


def rows_to_table(table: str, rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Rows as `table_of` makes them, of a table by its name."""
    return table_of(SCHEMAS[table], rows)


def table_of(schema: pa.Schema, rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Rows (dicts) as a pyarrow table of a schema; a column that a row lacks is null.

    Raises:
        AtlasError: A row has a column that the table does not.
    """
    for row in rows:
        unknown = sorted(set(row) - set(schema.names))
        if unknown:
            raise AtlasError(
                f"column {unknown[0]!r} in a row of a result table",
                expected=f"only {', '.join(schema.names)}",
            )
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def conform(table: str, data: pa.Table) -> pa.Table:
    """`data` with that table's columns, order and types; absent columns become null, others are left out."""
    schema = SCHEMAS[table]
    columns = [
        data[field.name].cast(field.type)
        if field.name in data.column_names
        else pa.nulls(len(data), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def write_tables(folder: Path, tables: Mapping[str, pa.Table]) -> list[Path]:
    """Write tables as `<folder>/<name>.parquet` in their schemas, the layout `database.connect` opens."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, data in tables.items():
        path = folder / f"{name}.parquet"
        pq.write_table(conform(name, data), path, compression="zstd")
        written.append(path)
    return written

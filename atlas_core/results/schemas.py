"""The result tables: their columns, types and meaning. Stages write them, views read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_core.errors import AtlasError

_TEXT, _INT32, _INT64, _FLOAT = pa.string(), pa.int32(), pa.int64(), pa.float64()

# table -> column -> (type, meaning)
_TABLES: dict[str, dict[str, tuple[pa.DataType, str]]] = {
    "runs": {
        "run_id": (_TEXT, "identity of the run: 16 hexadecimal digits of its key"),
        "run_name": (_TEXT, "readable name, such as dtd/coop/atlas_csl/16shots/seed1"),
        "study": (_TEXT, "preset or file that asked for the run"),
        "protocol": (_TEXT, "base_to_new, cross_dataset, domain_generalization or few_shot"),
        "dataset": (_TEXT, "dataset the prompts were trained on"),
        "method": (_TEXT, "prompt-tuning method; zero_shot is untrained CLIP"),
        "supervision": (
            _TEXT,
            "target of the cross-entropy: one_hot, ls, csl, atlas_csl, ...; none for zero_shot",
        ),
        "source": (_TEXT, "label source behind the supervision (atlas_csl: csl)"),
        "mix": (
            _FLOAT,
            "weight of the soft distribution in a soft target (epsilon; 1 is the pure distribution)",
        ),
        "temperature": (_FLOAT, "scale of the soft labels' softmax (s_t); null: the model's own logit scale"),
        "period": (
            _INT32,
            "K of an atlas_ supervision: every K-th epoch has soft targets; null when nothing alternates",
        ),
        "shots": (_INT32, "training images a class; 0 for zero_shot"),
        "seed": (_INT32, "seed of the shots, the initial context and the batch order"),
        "backbone": (_TEXT, "model and pretrained tag or weights file"),
        "epochs": (_INT32, "training epochs"),
        "batch_size": (_INT32, "images a step"),
        "learned_parameters": (_INT64, "numbers that training changes"),
        "first_loss": (_FLOAT, "mean training loss of the first epoch"),
        "final_loss": (_FLOAT, "mean training loss of the last epoch"),
        "wall_seconds": (_FLOAT, "time the training took by the clock (its share, if trained in a stack)"),
        "cpu_seconds": (_FLOAT, "processor time the training took"),
        "key": (_TEXT, "content key of the tune artifact"),
        "options": (_TEXT, "options of the method as JSON (no seed, nothing of the supervision)"),
    },
    "metrics": {
        "run_id": (_TEXT, "run that was evaluated"),
        "protocol": (_TEXT, "protocol the evaluation belongs to; null: every protocol of its run"),
        "target": (_TEXT, "dataset it was evaluated on"),
        "subset": (_TEXT, "classes: base, new or all"),
        "n_classes": (_INT32, "classes to choose among"),
        "n_samples": (_INT32, "test images"),
        "accuracy": (_FLOAT, "correct predictions, percent"),
        "macro_f1": (_FLOAT, "mean F1 over the classes that have images, percent"),
        "top5": (_FLOAT, "label among the five most probable classes, percent"),
        "ece": (_FLOAT, "expected calibration error over 15 equal-width bins, percent"),
        "nll": (_FLOAT, "mean negative log-likelihood of the label, nats"),
    },
    "predictions": {
        "run_id": (_TEXT, "run that predicted"),
        "target": (_TEXT, "dataset of the image"),
        "subset": (_TEXT, "classes to choose among: base, new or all"),
        "item": (_TEXT, "image path inside the dataset's folder"),
        "label": (_INT32, "true class, numbered inside the subset"),
        "prediction": (_INT32, "most probable class"),
        "probability": (pa.float32(), "probability of the prediction"),
        "label_probability": (pa.float32(), "probability of the true class"),
        "top5": (pa.list_(_INT32), "the five most probable classes, best first"),
    },
    "curves": {
        "run_id": (_TEXT, "run that was trained"),
        "epoch": (_INT32, "epoch, from 1"),
        "loss": (_FLOAT, "mean training loss, auxiliary terms included"),
        "cross_entropy": (_FLOAT, "mean cross-entropy against this epoch's target"),
        "target": (_TEXT, "target of this epoch's cross-entropy: one_hot or a label source"),
        "learning_rate": (_FLOAT, "learning rate of the epoch"),
        "train_accuracy": (_FLOAT, "correct predictions on the training views, percent"),
    },
    "classes": {
        "target": (_TEXT, "dataset"),
        "subset": (_TEXT, "base, new or all"),
        "label": (_INT32, "class number inside the subset"),
        "class_name": (_TEXT, "name of the class as it is prompted"),
    },
    "datasets": {
        "name": (
            _TEXT,
            "name that the tables show: that of its folder, table or description, longer where others have it too",
        ),
        "plain_name": (_TEXT, "name of its folder, table or description, which others may have too"),
        "place": (_TEXT, "where its files are: a path, or a folder's name below the data root"),
        "content": (_TEXT, "digest of its images, labels and splits"),
        "published": (_TEXT, "dataset of the catalogue that it is; null for one's own data"),
        "partial": (_TEXT, "where its numbers are not the published ones; null where they are, or none are"),
        "classes": (_INT32, "classes"),
        "train": (_INT32, "training images"),
        "val": (_INT32, "validation images"),
        "test": (_INT32, "test images"),
        "smallest_class": (_INT32, "training images of the class that has fewest"),
        "smallest_base_class": (_INT32, "the same among the base classes"),
    },
    "artifacts": {
        "stage": (_TEXT, "stage that made the artifact"),
        "name": (_TEXT, "what it is, readable"),
        "key": (_TEXT, "content key"),
        "wall_seconds": (_FLOAT, "time it took by the clock"),
        "cpu_seconds": (_FLOAT, "processor time it took"),
        "bytes": (_INT64, "size on disk"),
        "created": (_TEXT, "when it was finished, ISO 8601 in UTC"),
    },
}

SCHEMAS: dict[str, pa.Schema] = {
    table: pa.schema([pa.field(name, kind) for name, (kind, _) in columns.items()])
    for table, columns in _TABLES.items()
}
RUNS, METRICS, PREDICTIONS = SCHEMAS["runs"], SCHEMAS["metrics"], SCHEMAS["predictions"]
CURVES, CLASSES, ARTIFACTS = SCHEMAS["curves"], SCHEMAS["classes"], SCHEMAS["artifacts"]


def column_descriptions(table: str) -> dict[str, str]:
    """What each column of a stored table means: name -> description."""
    return {name: meaning for name, (_, meaning) in _TABLES[table].items()}


def rows_to_table(table: str, rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Rows (dicts) as a pyarrow table of that table's schema; a column that a row lacks is null.

    Raises:
        AtlasError: A row has a column that the table does not.
    """
    schema = SCHEMAS[table]
    for row in rows:
        unknown = sorted(set(row) - set(schema.names))
        if unknown:
            raise AtlasError(
                f"column {unknown[0]!r} in a row of {table}", expected=f"only {', '.join(schema.names)}"
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

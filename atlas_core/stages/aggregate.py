"""aggregate: a study's runs as compact Parquet tables, which SQL opens views over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_core.datasets.items import base_new_labels, differing_counts
from atlas_core.errors import AtlasError
from atlas_core.evaluation.measures import evaluation_row
from atlas_core.hashing import sha256_of
from atlas_core.labels.softness import read_softness
from atlas_core.manifest import Manifest, read_manifest
from atlas_core.results.schemas import conform, rows_to_table, write_tables
from atlas_core.stages.index import read_summary
from atlas_core.stages.run_id import run_id
from atlas_core.stages.stage import Stage, StageContext
from atlas_core.store import Store
from atlas_core.training.recipe import trained_epochs

SOFT_LABEL_STAGES = ("csl", "isl")


def _run(context: StageContext) -> None:
    store = Store(context.placement.store_path)
    made = {key: _manifest(store, stage, key) for stage, key in context.runtime["artifacts"]}
    pairs = [(made[evaluation], run) for evaluation, run in context.runtime["evaluations"]]
    runs = [made[key] for key in dict.fromkeys(run for _, run in pairs)]
    # A run knows its inputs by their content.
    inputs = {
        each.digest: each for each in made.values() if each.stage in ("text_features", *SOFT_LABEL_STAGES)
    }
    classes = _concatenated(store, pairs, "classes")
    metrics = rows_to_table("metrics", list(_metrics(store, pairs, context.config["protocol"])))
    tables = {
        "runs": rows_to_table("runs", [_run_row(store, each, context.config, inputs) for each in runs]),
        "metrics": metrics,
        "predictions": _concatenated(store, pairs, "predictions"),
        "curves": _concatenated(store, [(each, each.key) for each in runs], "curves"),
        "classes": classes.group_by(classes.column_names, use_threads=False).aggregate([]),
        "datasets": rows_to_table("datasets", list(dataset_rows(context, metrics))),
        "artifacts": rows_to_table("artifacts", list(map(_artifact_row, made.values()))),
    }
    write_tables(context.out, tables)


def _manifest(store: Store, stage: str, key: str) -> Manifest:
    manifest = read_manifest(store.path(stage, key))
    if manifest is None:
        raise AtlasError(f"artifact {stage}/{key[:12]} is gone from the store", fix="run the study again")
    return manifest


def _metrics(
    store: Store, evaluations: list[tuple[Manifest, str]], protocol: str
) -> Iterator[dict[str, Any]]:
    """The measures of every evaluation, from its predictions; runs with equal results share theirs.

    They are computed here and not where the model predicts, so that a new measure makes no evaluation stale.
    """
    measured: dict[str, dict[str, Any]] = {}
    for manifest, run_key in evaluations:
        if manifest.key not in measured:
            measured[manifest.key] = evaluation_row(store.path(manifest.stage, manifest.key))
        yield {**measured[manifest.key], "run_id": run_id(run_key), "protocol": protocol}


def _concatenated(store: Store, artifacts: list[tuple[Manifest, str]], table: str) -> pa.Table:
    """One table from all artifacts, each row under its run's id.

    The id is given here and not where the rows were made: runs with equal results share their evaluation.
    """
    parts = [rows_to_table(table, [])]
    for manifest, run_key in artifacts:
        part = conform(table, pq.read_table(store.path(manifest.stage, manifest.key) / f"{table}.parquet"))
        if "run_id" in part.column_names:
            ids = pa.repeat(run_id(run_key), len(part))
            part = part.set_column(part.schema.get_field_index("run_id"), part.schema.field("run_id"), ids)
        parts.append(part)
    return pa.concat_tables(parts)


def _run_row(store: Store, run: Manifest, study: Any, inputs: Mapping[str, Manifest]) -> dict[str, Any]:
    """One row of `runs`: what was asked for, what it cost, how its loss moved.

    Args:
        inputs: The study's text features and soft labels by their content's digest.
    """
    config = run.key_parts["config"]
    summary = json.loads((store.path(run.stage, run.key) / "run.json").read_text())
    training, supervision = config["training"], config["supervision"] or {}
    measured, temperature = _soft_columns(store, run, inputs), supervision.get("temperature")
    texts = inputs.get(run.key_parts["inputs"].get("reference", ""))
    reference = texts.key_parts["config"] if texts else {}
    return {
        **summary,
        "run_id": run_id(run.key),
        "run_name": run.name.removeprefix("tune/"),
        "study": study["study"],
        "protocol": study["protocol"],
        "dataset": config["dataset"],
        "method": config["method"],
        "supervision": study["supervisions"][sha256_of(supervision)] if supervision else "none",
        "source": supervision.get("source"),
        "mix": supervision.get("mix"),
        "temperature": measured["soft_temperature"] if temperature == "model" else temperature,
        **measured,
        "period": supervision.get("period") if supervision.get("name") == "atlas" else None,
        "shots": config["shots"],
        "seed": config["seed"],
        "backbone": study["backbone"],
        "epochs": trained_epochs(training.get("epochs", 0), training.get("stop_after")),
        "batch_size": training.get("batch_size"),
        "wall_seconds": run.wall_seconds,
        "cpu_seconds": run.cpu_seconds,
        "key": run.key,
        # The learning rate and a file of sentences tell two arms apart like an option does.
        "options": json.dumps(
            {**config["options"], **_rate(training), **_sentences(reference)}, sort_keys=True
        ),
        "stand_in": study.get("stand_ins", {}).get(run.name),
    }


def _soft_columns(store: Store, run: Manifest, soft: Mapping[str, Manifest]) -> dict[str, float]:
    """How soft the run's soft labels are; nothing for a run without them."""
    inputs = run.key_parts["inputs"]
    for stage in SOFT_LABEL_STAGES:
        if stage in inputs:
            measured = read_softness(store.path(stage, soft[inputs[stage]].key))
            return {f"soft_{name}": value for name, value in asdict(measured).items()}
    return {}


def dataset_rows(context: StageContext, metrics: pa.Table) -> Iterator[dict[str, Any]]:
    """One row of `datasets` for each dataset of the study: which it is, and whether its numbers are the published."""
    tested = _tested(metrics)
    for name, described in context.config["datasets"].items():
        index = context.inputs.get(f"index/{name}")
        if index is None:
            continue
        found = read_summary(index)
        counts, train_images = found.counts, found.images["train"]
        base, _ = base_new_labels(counts["classes"])
        # Fewer images are tested than the index has where damaged ones were left out.
        differing = differing_counts(
            described["counts"], {**counts, "test": tested.get(name, counts["test"])}
        )
        yield {
            "name": name,
            **{each: described[each] for each in ("plain_name", "place", "published")},
            "partial": "; ".join(differing) or None,
            "content": found.content,
            **counts,
            "smallest_class": min(train_images),
            "smallest_base_class": min(train_images[label] for label in base),
        }


def _tested(metrics: pa.Table) -> dict[str, int]:
    """How many images of a dataset were tested, where all of its classes were."""
    sizes: dict[str, dict[str, int]] = {}
    for row in metrics.to_pylist():
        sizes.setdefault(row["target"], {})[row["subset"]] = row["n_samples"]
    return {
        target: of["all"] if "all" in of else of["base"] + of["new"]
        for target, of in sizes.items()
        if "all" in of or {"base", "new"} <= of.keys()
    }


def _rate(training: dict[str, Any]) -> dict[str, Any]:
    return {"lr": training["lr"]} if training.get("epochs") else {}


def _sentences(reference: Mapping[str, Any]) -> dict[str, Any]:
    digest = reference.get("sentences_sha256")
    return {} if digest is None else {"sentences": digest[:8]}


def _artifact_row(manifest: Manifest) -> dict[str, Any]:
    return {
        "stage": manifest.stage,
        "name": manifest.name,
        "key": manifest.key,
        "wall_seconds": manifest.wall_seconds,
        "cpu_seconds": manifest.cpu_seconds,
        "bytes": manifest.bytes,
        "created": datetime.fromtimestamp(manifest.created, UTC).isoformat(),
    }


AGGREGATE = Stage(_run)

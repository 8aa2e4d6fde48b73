"""Compacting a study of 100 runs with 10,000 test images each into its tables, and asking SQL about every image.

The artifacts are made up, so that nothing needs to be trained, but they are whole: the stage reads them as it reads
any others. Elapsed time and CPU seconds of all threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import torch

from atlas_core.evaluation.predictions import prediction_rows
from atlas_core.hashing import sha256_of
from atlas_core.manifest import Manifest
from atlas_core.placement import Placement
from atlas_core.results.database import connect, query
from atlas_core.results.schemas import rows_to_table
from atlas_core.stages.aggregate import AGGREGATE
from atlas_core.stages.stage import StageContext
from atlas_core.store import Store

Row = dict[str, object]

_CLASSES = 10
_SUPERVISION = {"name": "one_hot"}
_QUESTION = "SELECT run_id, avg((prediction = label)::int), count(*) FROM predictions GROUP BY run_id"


def rows(runs: int = 100, images: int = 10_000, quick: bool = False) -> Iterator[Row]:
    """Two rows; `quick` takes a tenth of the runs."""
    count = runs // 10 if quick else runs
    with TemporaryDirectory() as folder:
        placement = Placement(home=Path(folder), workers=0)
        context = _context(placement, *_artifacts(Store(placement.store_path), count, images))
        yield _timed(f"aggregate {count * images:,} prediction rows of {count} runs", _aggregate, context)
        yield _timed(f"accuracy of {count} runs from {count * images:,} prediction rows", _ask, context)


def _artifacts(store: Store, runs: int, images: int) -> tuple[list[Manifest], list[Manifest]]:
    """Runs, and one evaluation of each."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, _CLASSES, generator=generator)
    labels = torch.randint(_CLASSES, (images,), generator=generator).tolist()
    paths = [f"images/{number:06d}.jpg" for number in range(images)]
    predictions = prediction_rows([logits], labels, paths, run_id="", target="digits", subset="all")
    names = [
        {"target": "digits", "subset": "all", "label": label, "class_name": str(label)}
        for label in range(_CLASSES)
    ]
    tables = {
        "predictions": predictions,
        "classes": rows_to_table("classes", names),
    }

    def write_evaluation(out: Path) -> None:
        for name, table in tables.items():
            pq.write_table(table, out / f"{name}.parquet", compression="zstd")

    def write_run(out: Path) -> None:
        pq.write_table(rows_to_table("curves", []), out / "curves.parquet")
        (out / "run.json").write_text(
            json.dumps({"learned_parameters": 1, "first_loss": 1.0, "final_loss": 1.0})
        )

    tuned = [store.publish("tune", f"tune/run{seed}", _run_parts(seed), write_run) for seed in range(runs)]
    evaluated = [
        store.publish("evaluate", f"evaluate/run{seed}", {"run": run.key}, write_evaluation)
        for seed, run in enumerate(tuned)
    ]
    return tuned, evaluated


def _run_parts(seed: int) -> dict[str, Any]:
    config = {
        "dataset": "digits",
        "method": "coop",
        "supervision": _SUPERVISION,
        "options": {},
        "training": {"epochs": 50, "batch_size": 32, "lr": 0.002},
        "shots": 16,
        "seed": seed,
    }
    return {"stage": "tune", "config": config}


def _context(placement: Placement, tuned: list[Manifest], evaluated: list[Manifest]) -> StageContext:
    out = placement.store_path / "tables"
    out.mkdir()
    pairs = [(evaluation.key, run.key) for evaluation, run in zip(evaluated, tuned, strict=True)]
    runtime = {"artifacts": [(each.stage, each.key) for each in (*tuned, *evaluated)], "evaluations": pairs}
    study: dict[str, Any] = {
        "study": "many-images",
        "protocol": "few_shot",
        "backbone": "none",
        "datasets": {},
    }
    study["supervisions"] = {sha256_of(_SUPERVISION): "one_hot"}
    return StageContext(study, {}, out, out, "", runtime, placement)


def _aggregate(context: StageContext) -> None:
    AGGREGATE.run(context)


def _ask(context: StageContext) -> None:
    found = query(connect(context.out), _QUESTION).to_pylist()
    assert len(found) == len(context.runtime["evaluations"])


def _timed(name: str, work: Any, context: StageContext) -> Row:
    wall, cpu = time.perf_counter(), time.process_time()
    work(context)
    return {
        "name": name,
        "ours_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "goal_seconds": 5.0,
    }

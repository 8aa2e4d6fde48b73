"""Plausible result tables without any training, for tests and for looking at reports."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from atlas_core.evaluation.measures import metrics_row
from atlas_core.evaluation.predictions import prediction_rows
from atlas_core.results.schemas import rows_to_table, write_tables

SOURCE, TARGETS, SHIFTED = "things", ("shapes", "textures", "digits"), ("things_sketch", "things_dark")
CLASSES = {"things": 12, "shapes": 8, "textures": 7, "digits": 10, "things_sketch": 12, "things_dark": 12}


@dataclass(frozen=True)
class Setting:
    """A row of the study's matrix, without dataset and seed."""

    method: str = "coop"
    supervision: str = "one_hot"
    source: str | None = None
    mix: float | None = None
    temperature: float | None = None
    period: int | None = None
    shots: int = 16
    epochs: int = 10
    gain: dict[str, float] = field(default_factory=dict, hash=False)


ZERO_SHOT = Setting("zero_shot", "none", shots=0, epochs=0)
SETTINGS = tuple(
    setting
    for method in ("coop", "kgcoop")
    for setting in (
        Setting(method, "one_hot", "one_hot", gain={"base": 2.2, "new": 0.2}),
        Setting(method, "ls", "ls", 0.1, gain={"base": 2.1, "new": 0.5}),
        Setting(method, "csl", "csl", 1.0, gain={"base": 1.4, "new": 0.9}),
        Setting(method, "atlas_csl", "csl", 1.0, None, 5, gain={"base": 2.0, "new": 0.9}),
        Setting(method, "atlas_isl", "isl", 1.0, None, 5, gain={"base": 2.1, "new": 1.1}),
    )
)
ABLATION = (
    Setting("coop", "atlas_csl", "csl", 1.0, None, 2, gain={"base": 1.8, "new": 0.9}),
    Setting("coop", "atlas_csl", "csl", 0.5, None, 5, gain={"base": 2.0, "new": 0.7}),
    Setting("coop", "atlas_csl", "csl", 1.0, 50.0, 5, gain={"base": 2.0, "new": 0.6}),
)


def write_results(folder: Path, *, seeds: tuple[int, ...] = (1, 2, 3), samples: int = 60) -> Path:
    """Write the tables of a benchmark of all four protocols to `folder` and return it."""
    write_tables(folder, results(seeds=seeds, samples=samples))
    return folder


def results(*, seeds: tuple[int, ...] = (1, 2, 3), samples: int = 60) -> dict[str, pa.Table]:
    """The tables of a benchmark: base-to-new with an ablation, both transfers, few-shot (1, 2, 4)."""
    runs, metrics, predictions, curves = [], [], [], []
    predicted: set[object] = set()
    for protocol, dataset, setting, seed in _plan(seeds):
        run = _run(protocol, dataset, setting, seed)
        if all(run["run_id"] != other["run_id"] for other in runs):
            curves.extend(_curve(run, setting))
        runs.append(run)
        for target, subset in _evaluations(protocol, dataset):
            rows, n_classes = _predict(run, setting, target, subset, samples)
            # A run that two protocols share predicts each target once.
            if (run["run_id"], target, subset) not in predicted:
                predicted.add((run["run_id"], target, subset))
                predictions.append(rows)
            metrics.append({**metrics_row(rows, n_classes), "protocol": protocol})
    return {
        "runs": rows_to_table("runs", runs),
        "metrics": rows_to_table("metrics", metrics),
        "predictions": pa.concat_tables(predictions),
        "curves": rows_to_table("curves", curves),
        "classes": rows_to_table("classes", _classes()),
        "datasets": rows_to_table("datasets", [dataset_row(*each) for each in CLASSES.items()]),
        "artifacts": rows_to_table("artifacts", _artifacts(runs)),
    }


def _plan(seeds: tuple[int, ...]) -> Iterator[tuple[str, str, Setting, int]]:
    for dataset in (SOURCE, *TARGETS):
        yield "base_to_new", dataset, ZERO_SHOT, 0
        yield "few_shot", dataset, ZERO_SHOT, 0
        for seed in seeds:
            for setting in (*SETTINGS, *ABLATION):
                yield "base_to_new", dataset, setting, seed
            for shots in (1, 2, 4):
                for setting in SETTINGS[:4]:
                    yield "few_shot", dataset, replace(setting, shots=shots), seed
    for protocol in ("cross_dataset", "domain_generalization"):
        yield protocol, SOURCE, ZERO_SHOT, 0
        for seed in seeds:
            for setting in SETTINGS:
                yield protocol, SOURCE, setting, seed


def _evaluations(protocol: str, dataset: str) -> list[tuple[str, str]]:
    return {
        "base_to_new": [(dataset, "base"), (dataset, "new")],
        "few_shot": [(dataset, "all")],
        "cross_dataset": [(target, "all") for target in (SOURCE, *TARGETS)],
        "domain_generalization": [(target, "all") for target in (SOURCE, *SHIFTED)],
    }[protocol]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _generator(*parts: object) -> np.random.Generator:
    return np.random.default_rng(int(_digest(*parts)[:8], 16))


def _run(protocol: str, dataset: str, setting: Setting, seed: int) -> dict[str, object]:
    words = (
        setting.method,
        setting.supervision,
        setting.mix,
        setting.temperature,
        setting.period,
        setting.shots,
    )
    # Both transfer protocols share the source's training, as in a benchmark.
    shared = "transfer" if protocol in ("cross_dataset", "domain_generalization") else protocol
    key = _digest(shared, dataset, words, seed)
    chance = _generator("run", key)
    return {
        "run_id": key[:16],
        "run_name": f"{dataset}/{setting.method}/{setting.supervision}/{setting.shots}shots/seed{seed}",
        "study": "synthetic",
        "protocol": protocol,
        "dataset": dataset,
        "method": setting.method,
        "supervision": setting.supervision,
        "source": setting.source,
        "mix": setting.mix,
        "temperature": setting.temperature,
        **_softness(setting),
        "period": setting.period,
        "shots": setting.shots,
        "seed": seed,
        "backbone": "demo-vit/demo",
        "epochs": setting.epochs,
        "batch_size": 32,
        "learned_parameters": 0 if setting is ZERO_SHOT else 2048,
        "first_loss": None if setting is ZERO_SHOT else float(2.0 + chance.random()),
        "final_loss": None if setting is ZERO_SHOT else float(0.5 + chance.random() / 2),
        "wall_seconds": float(1 + chance.random()),
        "cpu_seconds": float(1 + 2 * chance.random()),
        "key": key,
        "options": "{}",
    }


def _softness(setting: Setting) -> dict[str, float]:
    """As with CLIP's features: CSL's default has 0.9 on the class, and a far higher temperature is nearly one-hot."""
    if setting.source not in ("csl", "isl"):
        return {}
    temperature = setting.temperature or (100.0 if setting.source == "isl" else 21.0)
    true_mass = 0.7 if setting.source == "isl" else 0.9 if setting.temperature is None else 0.996
    return {
        "soft_temperature": temperature,
        "soft_entropy": 2 * (1 - true_mass),
        "soft_true_mass": true_mass,
        "soft_top3_mass": 0.8 * (1 - true_mass),
    }


def _predict(
    run: dict[str, object], setting: Setting, target: str, subset: str, samples: int
) -> tuple[pa.Table, int]:
    """Logits of random images plus a margin for the true class; seeds share the images, not the noise."""
    total = CLASSES[target]
    base = (total + 1) // 2
    n_classes = {"base": base, "new": total - base, "all": total}[subset]
    labels = _generator("labels", target, subset).integers(0, n_classes, samples)
    image = _generator("images", target, subset).normal(0, 1.2, (samples, n_classes))
    noise = _generator("noise", run["run_id"], target, subset).normal(0, 0.5, (samples, n_classes))
    gain = setting.gain.get("base" if subset != "new" and target == run["dataset"] else "new", 0.0)
    if subset == "all":
        gain *= min(1.0, 0.3 + setting.shots / 8)
    logits = 1.5 * (image + noise)
    logits[np.arange(samples), labels] += 1.5 * (1.2 + gain)
    rows = prediction_rows(
        torch.from_numpy(logits),
        labels.tolist(),
        [f"{target}/{k:04d}.png" for k in range(samples)],
        run_id=str(run["run_id"]),
        target=target,
        subset=subset,
    )
    return rows, n_classes


def _curve(run: dict[str, object], setting: Setting) -> list[dict[str, object]]:
    """A falling loss that jumps in the epochs with soft targets."""
    rows = []
    for epoch in range(1, setting.epochs + 1):
        soft = setting.source != "one_hot" and epoch % (setting.period or 1) == 0
        loss = 0.4 + 2.0 * np.exp(-epoch / 4) + (0.3 if soft else 0.0)
        rows.append(
            {
                "run_id": run["run_id"],
                "epoch": epoch,
                "loss": float(loss),
                "cross_entropy": float(loss * 0.95),
                "target": setting.source if soft else "one_hot",
                "learning_rate": 1e-5
                if epoch == 1
                else 0.001 * (1 + np.cos(np.pi * (epoch - 1) / setting.epochs)),
                "train_accuracy": float(100 - 60 * np.exp(-epoch / 3)),
            }
        )
    return rows


def _classes() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for target, total in CLASSES.items():
        base = (total + 1) // 2
        for number in range(total):
            half, label = ("base", number) if number < base else ("new", number - base)
            name = f"{target} kind {number}"
            rows.append({"target": target, "subset": "all", "label": number, "class_name": name})
            rows.append({"target": target, "subset": half, "label": label, "class_name": name})
    return rows


def dataset_row(name: str, classes: int = 10, **changed: object) -> dict[str, object]:
    """A row of `datasets`, with images enough for any number of shots here."""
    return {
        "name": name, "plain_name": name, "place": f"/data/{name}", "content": name, "classes": classes,
        "train": 20 * classes, "val": 4 * classes, "test": 60, "smallest_class": 20, "smallest_base_class": 20,
        **changed,
    }  # fmt: skip


def _artifacts(runs: list[dict[str, object]]) -> list[dict[str, object]]:
    trained = {str(run["key"]): run for run in runs}
    rows = [
        {"stage": "tune", "name": run["run_name"], "key": key, "wall_seconds": run["wall_seconds"],
         "cpu_seconds": run["cpu_seconds"], "bytes": 9000, "created": "2025-11-23T12:00:00+00:00"}
        for key, run in trained.items()
    ]  # fmt: skip
    for stage, seconds in (("image_features", 4.0), ("csl", 0.05), ("isl", 0.4)):
        for dataset in CLASSES:
            rows.append(
                {"stage": stage, "name": dataset, "key": _digest(stage, dataset), "wall_seconds": seconds,
                 "cpu_seconds": 2 * seconds, "bytes": 100_000, "created": "2025-11-23T11:00:00+00:00"}
            )  # fmt: skip
    return rows

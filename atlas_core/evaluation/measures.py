"""Measures of a classifier from its stored predictions alone.

Every function takes rows of the `predictions` table (one run, one target, one subset) as a pyarrow table.
Percentages are in 0..100.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from atlas_core.errors import AtlasError

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Measures:
    """The numbers of one row of the `metrics` table, in percent except `nll` (nats)."""

    n_classes: int
    n_samples: int
    accuracy: float
    macro_f1: float
    top5: float
    ece: float
    nll: float


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of a reliability diagram: predictions with confidence in `(lower, upper]`.

    `confidence` (mean probability) and `accuracy` are fractions, NaN in an empty bin.
    """

    lower: float
    upper: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClassAccuracy:
    """How often images of one class were recognised, in percent, and how many there are."""

    label: int
    n_samples: int
    accuracy: float


@dataclass(frozen=True)
class ConfusionPair:
    """`count` images of class `label` were taken for `prediction`: `percent` of the class."""

    label: int
    prediction: int
    count: int
    percent: float


def measure(predictions: pa.Table, n_classes: int) -> Measures:
    """All measures of one evaluation.

    Args:
        predictions: Its rows; at least one.
        n_classes: Classes the model chose among (rows cannot tell: a class may have no image).

    Raises:
        AtlasError: There is no row.
    """
    return Measures(
        n_classes=n_classes,
        n_samples=len(predictions),
        accuracy=accuracy(predictions),
        macro_f1=macro_f1(predictions),
        top5=top5_accuracy(predictions),
        ece=expected_calibration_error(predictions),
        nll=negative_log_likelihood(predictions),
    )


def metrics_row(predictions: pa.Table, n_classes: int) -> dict[str, object]:
    """A row of the `metrics` table; run, target and subset are those of the first prediction."""
    measures = measure(predictions, n_classes)
    names = {name: predictions[name][0].as_py() for name in ("run_id", "target", "subset")}
    return {**names, **asdict(measures)}


def evaluation_row(folder: Path) -> dict[str, Any]:
    """A row of the `metrics` table from the folder of an `evaluate` artifact."""
    n_classes = pq.read_metadata(folder / "classes.parquet").num_rows
    return metrics_row(pq.read_table(folder / "predictions.parquet"), n_classes)


def accuracy(predictions: pa.Table) -> float:
    """Percent of rows whose prediction is the label (protocol 2.4)."""
    return 100.0 * float(np.mean(_correct(predictions)))


def top5_accuracy(predictions: pa.Table) -> float:
    """Percent of rows whose label is among the five most probable classes."""
    labels = _column(predictions, "label")
    lists = predictions["top5"].combine_chunks()
    owner = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    hits = pc.list_flatten(lists).to_numpy(zero_copy_only=False) == labels[owner]
    return 100.0 * float(np.bincount(owner[hits], minlength=len(labels)).clip(max=1).mean())


def macro_f1(predictions: pa.Table) -> float:
    """Mean F1 of the classes that occur as a label, percent (scikit-learn's macro on `unique(y_true)`)."""
    labels, guesses = _column(predictions, "label"), _column(predictions, "prediction")
    size = int(max(labels.max(), guesses.max())) + 1
    true_positives = np.bincount(labels[labels == guesses], minlength=size)
    of_class = np.bincount(labels, minlength=size)
    said_class = np.bincount(guesses, minlength=size)
    present = of_class > 0
    return 100.0 * float(np.mean(2.0 * true_positives[present] / (of_class + said_class)[present]))


def expected_calibration_error(predictions: pa.Table, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap between confidence and accuracy, in percent, over equal-width bins weighted by their size.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), equations 3-5.
    """
    gap = math.fsum(
        bar.count * abs(bar.confidence - bar.accuracy) for bar in reliability(predictions, bins) if bar.count
    )
    return 100.0 * gap / len(predictions)


def reliability(predictions: pa.Table, bins: int = CALIBRATION_BINS) -> list[ReliabilityBin]:
    """Equal-width bins of confidence, each open below and closed above (Guo et al. 2017)."""
    correct = _correct(predictions)
    confidence = _column(predictions, "probability").astype(np.float64)
    place = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1)
    # A diverged model has no confidence at all; its rows are counted where they hurt most.
    place = np.where(np.isnan(confidence), bins - 1, place).astype(np.int64)
    confidence = np.where(np.isnan(confidence), 1.0, confidence)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(place, confidence, bins) / count
        mean_accuracy = np.bincount(place, correct, bins) / count
    return [
        ReliabilityBin(
            k / bins, (k + 1) / bins, int(count[k]), float(mean_confidence[k]), float(mean_accuracy[k])
        )
        for k in range(bins)
    ]


def negative_log_likelihood(predictions: pa.Table) -> float:
    """Mean of `-log p(label)` in nats, from the log-softmax of the logits: no probability is too small for it."""
    _correct(predictions)
    return float(-np.mean(_column(predictions, "label_log_probability").astype(np.float64)))


def per_class_accuracy(predictions: pa.Table) -> list[ClassAccuracy]:
    """Accuracy of every class that occurs as a label, by class number."""
    labels, correct = _column(predictions, "label"), _correct(predictions)
    count = np.bincount(labels)
    hits = np.bincount(labels, correct)
    return [
        ClassAccuracy(int(k), int(count[k]), float(100.0 * hits[k] / count[k])) for k in np.flatnonzero(count)
    ]


def confusion_pairs(predictions: pa.Table, limit: int | None = None) -> list[ConfusionPair]:
    """Wrong predictions counted by (label, prediction), most frequent first, then by class number."""
    labels, guesses = _column(predictions, "label"), _column(predictions, "prediction")
    of_class = np.bincount(labels)
    wrong = labels != guesses
    pairs, counts = np.unique(np.stack([labels[wrong], guesses[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit]
    return [
        ConfusionPair(
            int(pairs[0, k]),
            int(pairs[1, k]),
            int(counts[k]),
            float(100.0 * counts[k] / of_class[pairs[0, k]]),
        )
        for k in order
    ]


def _correct(predictions: pa.Table) -> np.ndarray:
    if not len(predictions):
        raise AtlasError("no predictions to measure", expected="at least one row")
    right: np.ndarray = _column(predictions, "label") == _column(predictions, "prediction")
    return right


def _column(predictions: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = predictions[name].to_numpy()
    return values

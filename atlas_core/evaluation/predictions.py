"""From logits to rows: what a model said of every test image, so that a new measure needs no retraining."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.results.schemas import PREDICTIONS

TOP = 5


def prediction_rows(
    logits: Tensor | Iterable[Tensor],
    labels: Sequence[int],
    items: Sequence[str],
    *,
    run_id: str,
    target: str,
    subset: str,
) -> pa.Table:
    """Turn logits into the rows of the `predictions` table.

    Probabilities are the softmax in float64, stored as float32. Equal logits are ordered by class number,
    so the rows do not depend on the machine. With fewer than five classes `top5` holds all of them.

    Args:
        logits: `[N, C]`, whole or in chunks along N (consumed one at a time).
        labels: N class numbers in `0..C-1`.
        items: N paths, in the order of the logits' rows.

    Returns:
        N rows with the schema `atlas_core.results.schemas.PREDICTIONS`.

    Raises:
        AtlasError: N differs between logits, labels and items, or a label is not a class.
    """
    chunks = [logits] if isinstance(logits, Tensor) else logits
    truth = np.asarray(labels, dtype=np.int64)
    if len(truth) != len(items):
        raise AtlasError(
            f"{len(items)} items with {len(truth)} labels for {target}/{subset}",
            expected="one label for every item",
        )
    parts = []
    start = 0
    for chunk in chunks:
        stop = start + len(chunk)
        if stop > len(truth):
            break
        parts.append(_chunk_columns(chunk, truth[start:stop]))
        start = stop
    else:
        stop = start
    if stop != len(truth):
        raise AtlasError(
            f"logits of {stop} or more images for {len(truth)} labels of {target}/{subset}"
            if stop > len(truth)
            else f"logits of {stop} images for {len(truth)} labels of {target}/{subset}",
            expected="one row of logits for every label",
        )
    return _table(parts, truth, items, run_id=run_id, target=target, subset=subset)


def _table(
    parts: list[dict[str, np.ndarray]],
    truth: np.ndarray,
    items: Sequence[str],
    *,
    run_id: str,
    target: str,
    subset: str,
) -> pa.Table:
    n = len(truth)
    if not parts:
        return PREDICTIONS.empty_table()
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    top = joined["top5"]
    columns = {
        "run_id": pa.repeat(run_id, n),
        "target": pa.repeat(target, n),
        "subset": pa.repeat(subset, n),
        "item": pa.array(list(items), pa.string()),
        "label": pa.array(truth, pa.int32()),
        "prediction": pa.array(top[:, 0], pa.int32()),
        "probability": pa.array(joined["probability"], pa.float32()),
        "label_probability": pa.array(joined["label_probability"], pa.float32()),
        "label_log_probability": pa.array(joined["label_log_probability"], pa.float32()),
        "top5": pa.ListArray.from_arrays(
            np.arange(0, top.size + 1, top.shape[1], dtype=np.int32), pa.array(top.ravel(), pa.int32())
        ),
    }
    return pa.table([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS)


def _chunk_columns(logits: Tensor, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions of one chunk: logits `[B, C]` and truth `[B]`; `top5` is `[B, min(5, C)]`."""
    classes = logits.shape[1]
    if len(truth) and (truth.min() < 0 or truth.max() >= classes):
        raise AtlasError(
            f"label {int(truth.min() if truth.min() < 0 else truth.max())} for a model of {classes} classes",
            expected=f"labels from 0 to {classes - 1}",
        )
    scores = logits.detach().to("cpu", torch.float64)
    log_probabilities = torch.log_softmax(scores, dim=1).numpy()
    top = _largest(scores.numpy(), min(TOP, classes))
    rows = np.arange(len(truth))
    return {
        "top5": top,
        "probability": np.exp(log_probabilities[rows, top[:, 0]]),
        "label_probability": np.exp(log_probabilities[rows, truth]),
        "label_log_probability": log_probabilities[rows, truth],
    }


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of each row's k largest values, `[B, k]`; numpy's argmax takes the first of equal ones."""
    # -inf marks a column as taken, so a logit that is -inf itself is raised to the smallest number first.
    left = np.maximum(scores, np.finfo(scores.dtype).min)
    rows = np.arange(len(left))
    chosen = np.empty((len(left), k), dtype=np.int32)
    for place in range(k):
        best = left.argmax(axis=1)
        chosen[:, place] = best
        left[rows, best] = -np.inf
    return chosen

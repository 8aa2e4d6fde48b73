"""Measures from prediction rows equal scikit-learn's and hand-computed ones."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
    top_k_accuracy_score,
)

from atlas_core.errors import AtlasError
from atlas_core.evaluation import measures
from atlas_core.evaluation.predictions import prediction_rows


def rows_of(logits, labels):
    return prediction_rows(
        logits, labels, [str(k) for k in range(len(labels))], run_id="r", target="t", subset="all"
    )


def random_case(seed, n=300, classes=9, absent=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes - absent, n)
    logits = generator.normal(0, 1, (n, classes))
    logits[np.arange(n), labels] += 1
    return torch.from_numpy(logits), labels


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(0, 3))
def test_measures_equal_scikit_learn(seed, classes, absent):
    logits, labels = random_case(seed, 60, classes, min(absent, classes - 1))
    rows = rows_of(logits, labels.tolist())
    found = measures.measure(rows, classes)
    predicted = rows["prediction"].to_numpy()
    every = np.arange(classes)
    assert found.accuracy == pytest.approx(100 * accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(
        100 * f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0)
    )
    assert found.nll == pytest.approx(
        log_loss(labels, torch.softmax(logits, 1).numpy(), labels=every), rel=1e-5
    )
    if classes > 5:
        assert found.top5 == pytest.approx(
            100 * top_k_accuracy_score(labels, logits.numpy(), k=5, labels=every)
        )
    else:
        assert found.top5 == 100
    assert (found.n_samples, found.n_classes) == (60, classes)


@given(st.integers(0, 10_000))
def test_calibration_error_is_the_weighted_gap_of_the_bins(seed):
    logits, labels = random_case(seed)
    rows = rows_of(logits, labels.tolist())
    confidence = rows["probability"].to_numpy().astype(float)
    correct = rows["prediction"].to_numpy() == labels
    expected = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert measures.expected_calibration_error(rows) == pytest.approx(100 * expected)


def test_reliability_by_hand():
    # With two classes a logit of log(p/(1-p)) gives confidence p: 0.6 (right), 0.6 (wrong), 0.9 (right).
    logits = torch.tensor([[math.log(1.5), 0.0], [math.log(1.5), 0.0], [0.0, math.log(9)]])
    bars = [bar for bar in measures.reliability(rows_of(logits, [0, 1, 1])) if bar.count]
    assert [(bar.count, bar.accuracy) for bar in bars] == [(2, 0.5), (1, 1.0)]
    assert [bar.confidence for bar in bars] == pytest.approx([0.6, 0.9])
    assert measures.expected_calibration_error(rows_of(logits, [0, 1, 1])) == pytest.approx(
        100 * (2 / 3 * 0.1 + 1 / 3 * 0.1)
    )


def test_a_certain_prediction_falls_in_the_last_bin():
    bars = measures.reliability(rows_of(torch.tensor([[1000.0, 0.0]]), [0]))
    assert [bar.count for bar in bars] == [0] * 14 + [1]


def test_per_class_accuracy_is_scikit_learns_recall():
    logits, labels = random_case(3, absent=2)
    rows = rows_of(logits, labels.tolist())
    found = measures.per_class_accuracy(rows)
    present = np.unique(labels)
    recall = recall_score(labels, rows["prediction"].to_numpy(), labels=present, average=None)
    assert [each.label for each in found] == present.tolist()
    assert [each.accuracy for each in found] == pytest.approx((100 * recall).tolist())
    assert sum(each.n_samples for each in found) == len(labels)


def test_confusion_pairs_are_the_off_diagonal_counts():
    logits, labels = random_case(4)
    rows = rows_of(logits, labels.tolist())
    matrix = confusion_matrix(labels, rows["prediction"].to_numpy(), labels=range(9))
    pairs = measures.confusion_pairs(rows)
    assert {(p.label, p.prediction): p.count for p in pairs} == {
        (i, j): matrix[i, j] for i in range(9) for j in range(9) if i != j and matrix[i, j]
    }
    assert [p.count for p in pairs] == sorted((p.count for p in pairs), reverse=True)
    assert pairs[0].percent == pytest.approx(100 * pairs[0].count / matrix[pairs[0].label].sum())
    assert measures.confusion_pairs(rows, limit=2) == pairs[:2]


def test_a_perfect_model_confuses_nothing():
    assert measures.confusion_pairs(rows_of(torch.eye(3), [0, 1, 2])) == []


@pytest.mark.parametrize("margin", [1.0, 90.0, 200.0, 1e4])
def test_the_likelihood_is_exact_where_a_probability_underflows(margin):
    rows = rows_of(torch.tensor([[margin, 0.0], [0.0, margin]], dtype=torch.float64), [1, 1])
    expected = (math.log1p(math.exp(-margin)) * 2 + margin) / 2
    assert measures.negative_log_likelihood(rows) == pytest.approx(expected, rel=1e-6)


def test_a_diverged_model_is_measured_as_wrong_and_overconfident():
    found = measures.measure(rows_of(torch.full((4, 3), float("nan")), [1, 2, 1, 2]), 3)
    assert found.accuracy == 0
    assert found.ece == 100
    assert math.isnan(found.nll)


def test_the_metrics_row_carries_the_names_of_the_evaluation():
    row = measures.metrics_row(rows_of(torch.eye(3), [0, 1, 2]), 3)
    assert {k: row[k] for k in ("run_id", "target", "subset", "accuracy")} == {
        "run_id": "r", "target": "t", "subset": "all", "accuracy": 100.0
    }  # fmt: skip


def test_measuring_nothing_is_refused():
    with pytest.raises(AtlasError, match="no predictions"):
        measures.accuracy(rows_of([], []))

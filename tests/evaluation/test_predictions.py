"""Prediction rows say what the logits say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlas_core.errors import AtlasError
from atlas_core.evaluation.predictions import prediction_rows
from atlas_core.results.schemas import PREDICTIONS


def rows_of(logits, labels, **names):
    names = {"run_id": "r", "target": "pets", "subset": "base"} | names
    return prediction_rows(logits, labels, [f"{k}.jpg" for k in range(len(labels))], **names)


def test_a_row_holds_prediction_probabilities_and_the_five_best_classes():
    logits = torch.tensor([[0.0, 2.0, 1.0, -1.0, 0.5, 3.0]])
    table = rows_of(logits, [1])
    softmax = torch.softmax(logits, 1)[0]
    row = table.to_pylist()[0]
    assert table.schema == PREDICTIONS
    assert row["prediction"] == 5
    assert row["top5"] == [5, 1, 2, 4, 0]
    assert row["probability"] == pytest.approx(softmax[5].item(), rel=1e-6)
    assert row["label_probability"] == pytest.approx(softmax[1].item(), rel=1e-6)
    assert row["label_log_probability"] == pytest.approx(softmax[1].log().item(), rel=1e-6)
    assert (row["run_id"], row["target"], row["subset"], row["item"]) == ("r", "pets", "base", "0.jpg")


def test_with_fewer_than_five_classes_the_list_holds_them_all():
    assert rows_of(torch.tensor([[1.0, 3.0, 2.0]]), [0])["top5"].to_pylist() == [[1, 2, 0]]


def test_equal_logits_are_ordered_by_class_number():
    assert rows_of(torch.zeros(2, 7), [0, 6])["top5"].to_pylist() == [[0, 1, 2, 3, 4]] * 2


def test_half_precision_logits_far_apart_lose_no_probability():
    table = rows_of(torch.tensor([[0.0, 60.0]], dtype=torch.float16), [0])
    assert table["label_probability"][0].as_py() == pytest.approx(np.exp(-60), rel=1e-5)


def test_chunks_give_the_rows_of_the_whole():
    logits = torch.randn(11, 6, generator=torch.Generator().manual_seed(0))
    labels = [k % 6 for k in range(11)]
    assert rows_of(logits.split(4), labels).equals(rows_of(logits, labels))


def test_no_images_give_an_empty_table():
    assert rows_of([], []).schema == PREDICTIONS


@pytest.mark.parametrize("images", [2, 4])
def test_as_many_logits_as_labels_are_required(images):
    with pytest.raises(AtlasError, match="pets/base"):
        rows_of(torch.zeros(images, 5), [0, 1, 2])


def test_a_label_outside_the_classes_is_refused():
    with pytest.raises(AtlasError, match="label 5 for a model of 5 classes"):
        rows_of(torch.zeros(2, 5), [0, 5])


def test_diverged_logits_still_give_rows():
    table = rows_of(torch.full((2, 5), float("nan")), [0, 1])
    assert np.isnan(table["probability"].to_numpy()).all()


@given(arrays(np.float32, (7, 8), elements=st.floats(-50, 50, width=32)))
def test_the_five_are_the_largest_of_a_stable_sort(logits):
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    assert rows_of(torch.from_numpy(logits), [0] * 7)["top5"].to_pylist() == expected.tolist()

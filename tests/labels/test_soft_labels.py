"""Offline soft labels: the softmax of cosine similarities, checked in float64 and against open_clip's formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.errors import AtlasError
from atlas_core.labels.soft_labels import class_soft_labels, instance_soft_labels


def matrix(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * 7


def exact(rows: torch.Tensor, classes: torch.Tensor, temperature: float) -> torch.Tensor:
    unit, directions = (torch.nn.functional.normalize(each.double(), dim=1) for each in (rows, classes))
    return torch.softmax(temperature * unit @ directions.T, dim=1)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8), st.floats(0.01, 100), st.integers(0, 99))
def test_both_are_softmaxes_of_cosines(
    images: int, classes: int, width: int, temperature: float, seed: int
) -> None:
    f, g = matrix(images, width, seed), matrix(classes, width, seed + 1)
    instance, of_classes = instance_soft_labels(f, g, temperature), class_soft_labels(g, temperature)
    assert torch.allclose(instance.double(), exact(f, g, temperature), atol=2e-5)
    assert torch.allclose(of_classes.double(), exact(g, g, temperature), atol=2e-5)
    assert torch.allclose(instance.sum(1), torch.ones(images))
    assert torch.allclose(of_classes.sum(1), torch.ones(classes))


def test_a_class_is_most_like_itself() -> None:
    table = class_soft_labels(matrix(50, 16, 0), 100.0)
    assert table.argmax(1).tolist() == list(range(50))


def test_instance_labels_are_the_zero_shot_prediction() -> None:
    f, g = matrix(30, 8, 1), matrix(5, 8, 2)
    unit_f, unit_g = f / f.norm(dim=-1, keepdim=True), g / g.norm(dim=-1, keepdim=True)
    assert torch.allclose(
        instance_soft_labels(f, g, 100.0), (100.0 * unit_f @ unit_g.T).softmax(-1), atol=1e-5
    )


def test_more_rows_than_a_piece_give_the_same() -> None:
    f, g = matrix(5000, 8, 1), matrix(5, 8, 2)
    whole = instance_soft_labels(f, g, 10.0)
    assert torch.allclose(whole.double(), exact(f, g, 10.0), atol=1e-5)


def test_the_length_of_a_feature_does_not_matter_and_inputs_stay_as_they_were() -> None:
    f, g = matrix(6, 8, 1), matrix(5, 8, 2)
    before = f.clone(), g.clone()
    scaled = instance_soft_labels(f * 3, g / 5, 10.0)
    assert torch.allclose(instance_soft_labels(f, g, 10.0), scaled, atol=1e-6)
    assert torch.equal(f, before[0])
    assert torch.equal(g, before[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_any_precision_will_do(dtype: type) -> None:
    f, g = matrix(6, 8, 1).numpy().astype(dtype), matrix(5, 8, 2).numpy().astype(dtype)
    f.flags.writeable = False  # as a memory-mapped cache gives them
    expected = exact(torch.from_numpy(f.copy()), torch.from_numpy(g), 10.0)
    assert torch.allclose(instance_soft_labels(f, g, 10.0).double(), expected, atol=1e-5)


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_features_without_a_direction_are_refused(bad: float) -> None:
    f, g = matrix(6, 8, 1), matrix(5, 8, 2)
    f[3] = bad
    with pytest.raises(AtlasError, match=r"1 image features .* position 3"):
        instance_soft_labels(f, g, 10.0)
    g[2] = bad
    with pytest.raises(AtlasError, match=r"1 text features .* position 2"):
        class_soft_labels(g, 10.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_no_multiplier_is_refused(temperature: float) -> None:
    with pytest.raises(AtlasError, match="temperature"):
        class_soft_labels(matrix(3, 4, 0), temperature)


def test_features_of_another_model_are_refused() -> None:
    with pytest.raises(AtlasError, match="width 8, text features of width 9"):
        instance_soft_labels(matrix(3, 8, 0), matrix(3, 9, 0), 1.0)
    with pytest.raises(AtlasError, match="shape"):
        class_soft_labels(torch.ones(3), 1.0)

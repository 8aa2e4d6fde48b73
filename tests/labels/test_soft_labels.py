"""Offline soft labels: the softmax of cosine similarities, checked in float64 and against open_clip's formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.errors import AtlasError
from atlas_core.labels.soft_labels import (
    class_soft_labels,
    class_temperature,
    instance_soft_labels,
    instance_temperature,
)


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


def alike(classes: int, width: int, seed: int, share: float) -> torch.Tensor:
    """Features with a common part, as text features of one template have."""
    return matrix(1, width, seed) * share + matrix(classes, width, seed + 1)


@given(st.integers(2, 40), st.integers(8, 32), st.floats(0, 4), st.integers(0, 99))
def test_by_default_a_class_has_nine_tenths_of_its_soft_label_on_average(
    classes: int, width: int, share: float, seed: int
) -> None:
    g = alike(classes, width, seed, share)
    temperature = class_temperature(g, None, 100.0)
    assert float(exact(g, g, temperature).diagonal().mean()) == pytest.approx(0.9, abs=1e-5)
    assert float(class_soft_labels(g, temperature).diagonal().mean()) == pytest.approx(0.9, abs=1e-3)
    assert class_temperature(g, None, 14.0) == temperature
    assert float(f"{temperature:.6g}") == temperature


def test_two_classes_have_the_temperature_of_the_formula() -> None:
    """With cosine c the diagonal is 1/(1 + exp(-s(1 - c))): s = log 9/(1 - c)."""
    for cosine in (-0.5, 0.6, 0.95, 0.999):
        g = torch.tensor([[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5]])
        assert class_temperature(g, None, 100.0) == pytest.approx(np.log(9) / (1 - cosine), rel=1e-4)


def test_the_temperature_may_be_a_number_or_the_models_scale() -> None:
    g = alike(5, 16, 0, 2.0)
    assert class_temperature(g, 30.0, 100.0) == 30.0
    assert class_temperature(g, "model", 100.0) == 100.0
    assert instance_temperature(30.0, 100.0) == 30.0
    assert instance_temperature("model", 100.0) == instance_temperature(None, 100.0) == 100.0


def test_the_order_of_classes_and_the_length_of_features_change_no_temperature() -> None:
    g = alike(9, 16, 0, 2.0)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    assert class_temperature(3 * g[order], None, 100.0) == class_temperature(g, None, 100.0)


def test_one_class_has_the_models_scale() -> None:
    assert class_temperature(matrix(1, 8, 0), None, 14.0) == 14.0


def test_classes_with_equal_features_are_refused_and_the_advice_works() -> None:
    g = matrix(3, 8, 0)[[0, 0, 1, 2]]
    with pytest.raises(AtlasError, match=r"4 classes, of which several.*set the supervision's `temperature`"):
        class_temperature(g, None, 100.0)
    assert class_temperature(g, 20.0, 100.0) == 20.0
    many = torch.cat([matrix(30, 64, 0), matrix(1, 64, 0)[:1]])  # as ImageNet, which has two names twice
    assert float(exact(many, many, class_temperature(many, None, 1.0)).diagonal().mean()) == pytest.approx(
        0.9
    )

"""Gradient statistics against autograd, Monte Carlo and hand-worked cases."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from atlas_core.analysis.gradients import compare_targets, minibatch_variance, sample_gradients
from atlas_core.methods.coop import CoOp
from atlas_core.methods.traits.base import Classes, parse_options
from atlas_core.training.randomness import stream
from tests.small_clip import small_clip

N, C = 6, 3


@pytest.fixture(scope="module")
def method() -> CoOp:
    classes = Classes(("red fox", "blue jay", "green frog"), {"coop": "a photo of a {}."})
    options = parse_options(CoOp, {"n_ctx": 2, "ctx_init": ""})
    return CoOp(small_clip(), classes, options, generator=stream(1, "initial context"))


@pytest.fixture(scope="module")
def features() -> Tensor:
    return torch.randn(N, 24, generator=torch.Generator().manual_seed(3))


def targets() -> dict[str, Tensor]:
    labels = torch.arange(N) % C
    soft = torch.softmax(torch.randn(N, C, generator=torch.Generator().manual_seed(4)), dim=1)
    return {"one_hot": F.one_hot(labels, C).float(), "soft": soft}


@pytest.mark.parametrize("name", ["one_hot", "soft"])
def test_each_images_gradient_is_autograds(method: CoOp, features: Tensor, name: str) -> None:
    target = targets()[name]
    found = sample_gradients(method, features, target)
    for row in range(N):
        logits = method.cosine_logits(features[row : row + 1], method.text_features())
        loss = -(target[row] * logits.log_softmax(dim=1)).sum()
        (expected,) = torch.autograd.grad(loss, method.ctx)
        torch.testing.assert_close(found[row].float(), expected.flatten(), rtol=1e-3, atol=1e-4)


def test_statistics_are_those_of_the_definition(method: CoOp, features: Tensor) -> None:
    found = compare_targets(method, features, targets(), batch_size=2)
    plain = sample_gradients(method, features, targets()["one_hot"])
    soft = sample_gradients(method, features, targets()["soft"])
    variance = [((each - each.mean(0)) ** 2).sum(1).mean() for each in (plain, soft)]
    assert found["one_hot"].kappa == found["one_hot"].kappa_about_one_hot == 1
    assert found["one_hot"].bias == 0
    assert found["soft"].kappa == pytest.approx(float(variance[1] / variance[0]))
    assert found["soft"].gradient_norm == pytest.approx(float(soft.mean(0).norm()))
    spread = found["soft"].kappa + found["soft"].bias ** 2 / found["one_hot"].variance
    assert found["soft"].kappa_about_one_hot == pytest.approx(spread)
    logits = method.cosine_logits(features, method.text_features())
    assert found["one_hot"].loss == pytest.approx(
        float(F.cross_entropy(logits.detach(), torch.arange(N) % C)), rel=1e-4
    )


def test_the_models_own_prediction_as_target_has_no_gradient(method: CoOp, features: Tensor) -> None:
    with torch.no_grad():
        own = torch.softmax(method.cosine_logits(features, method.text_features()), dim=1)
    assert float(sample_gradients(method, features, own).norm()) < 1e-4


def test_gradients_are_linear_in_the_target(method: CoOp, features: Tensor) -> None:
    """g of (1−ε)·e_y + ε·q is (1−ε)·g(e_y) + ε·g(q): gradients are linear in the target."""
    both = targets()
    mixed = 0.9 * both["one_hot"] + 0.1 * both["soft"]
    expected = 0.9 * sample_gradients(method, features, both["one_hot"])
    expected += 0.1 * sample_gradients(method, features, both["soft"])
    torch.testing.assert_close(sample_gradients(method, features, mixed), expected, rtol=1e-3, atol=1e-4)


@given(seed=st.integers(0, 1000), size=st.integers(1, 6))
def test_a_minibatchs_variance_is_that_of_all_minibatches(seed: int, size: int) -> None:
    gradients = torch.randn(N, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    choices = torch.combinations(torch.arange(N), r=size)
    means = gradients[choices].mean(dim=1)
    expected = ((means - gradients.mean(0)) ** 2).sum(1).mean()
    assert minibatch_variance(gradients, size) == pytest.approx(float(expected), abs=1e-12)

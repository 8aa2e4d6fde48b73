"""Gaussian averaging of learned parameters over the epochs that are trained."""

from __future__ import annotations

import math

import pytest
import torch

from atlas_core.training.loop import EpochCurve, train
from atlas_core.training.recipe import Recipe, WeightAverage
from tests.training.test_stack import RECIPE, context, member_of

AVERAGE = WeightAverage(mean=5, std=1.5)


def averaged(recipe: Recipe) -> torch.Tensor:
    member = member_of(("ls", 1))
    train(member.method, member.data, member.supervisor, recipe, seed=member.seed)
    return context(member)


@pytest.mark.parametrize(("stop_after", "trained"), [(None, 6), (3, 3), (1, 1), (9, 6)])
def test_the_average_is_over_the_epochs_that_are_trained(stop_after: int | None, trained: int) -> None:
    """w_t = N(t; 5, 1.5) / Σ N over the trained epochs alone; planned ones that never come have no weight."""
    member, after = member_of(("ls", 1)), dict[int, torch.Tensor]()

    def keep(curve: EpochCurve) -> None:
        after[curve.epoch] = context(member).double().clone()

    recipe = RECIPE.model_copy(update={"stop_after": stop_after})
    train(member.method, member.data, member.supervisor, recipe, seed=member.seed, on_epoch=keep)
    density = {epoch: math.exp(-((epoch - 5) ** 2) / (2 * 1.5**2)) for epoch in range(1, trained + 1)}
    expected = sum(density[epoch] * after[epoch] for epoch in density) / sum(density.values())
    found = averaged(recipe.model_copy(update={"average": AVERAGE}))
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-7)

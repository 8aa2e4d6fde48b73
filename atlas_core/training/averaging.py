"""Gaussian weight averaging of learned parameters over epochs (PromptSRC, section 3.3, "prompt self-ensembling")."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atlas_core.methods.base import PromptMethod
from atlas_core.training.recipe import Recipe, WeightAverage


def running_average(recipe: Recipe) -> GaussianAverage | None:
    """The average that a recipe asks for, over the epochs that it trains (fewer than planned where it stops early)."""
    return None if recipe.average is None else GaussianAverage(recipe.average, recipe.trained_epochs)


def gaussian_weights(average: WeightAverage, epochs: int) -> list[float]:
    """w_t ∝ N(t; μ, σ) for the T epochs t = 1..T that are trained, summing to one."""
    exponents = [-0.5 * ((t - average.mean) / average.std) ** 2 for t in range(1, epochs + 1)]
    # Taken from the largest, so that a short training far from the mean does not come to 0/0.
    raw = [math.exp(each - max(exponents)) for each in exponents]
    total = math.fsum(raw)  # exact: what `sum` gives differs between Python 3.11 and 3.12
    return [each / total for each in raw]


class GaussianAverage:
    """The running weighted sum of a method's learned parameters.

    Only learned parameters are summed, in float64: averaging the frozen weights too, as the published code does,
    returns them with rounding errors and changes nothing else.
    """

    def __init__(self, average: WeightAverage, epochs: int) -> None:
        self.weights = gaussian_weights(average, epochs)
        self.sums: dict[str, Tensor] = {}

    def add(self, epoch: int, method: PromptMethod) -> None:
        """Add the parameters as they stand after a 1-based epoch."""
        for name, value in method.learned_state().items():
            weighted = self.weights[epoch - 1] * value.double()
            self.sums[name] = self.sums[name] + weighted if name in self.sums else weighted

    def load_into(self, method: PromptMethod) -> None:
        """Replace the method's parameters by their average."""
        with torch.no_grad():
            for name, parameter in method.named_parameters():
                parameter.copy_(self.sums[name].to(parameter.dtype))

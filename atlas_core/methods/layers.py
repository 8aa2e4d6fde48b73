"""Small learned layers that several methods share, initialised from a run's own generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear(n_in: int, n_out: int, generator: torch.Generator, *, bias: bool = True) -> nn.Linear:
    """A float32 linear layer with torch's default initialisation, U(-1/√n_in, 1/√n_in), drawn on the CPU.

    The published methods leave their layers at torch's default; drawing from the run's generator keeps it
    independent of everything else that uses random numbers.
    """
    layer = nn.Linear(n_in, n_out, bias=bias, device="meta").to_empty(device="cpu")
    bound = n_in**-0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer


class FeatureModulation(nn.Module):
    """A learned scale and shift of each channel, x·γ + β on [..., D], the identity at first (FiLM)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.bias

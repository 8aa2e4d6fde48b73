"""Mixed precision: the towers' matrix products in bfloat16 or float16, everything else in float32.

`towers_in` asks for it, and each tower answers where it is entered, so a method needs to know nothing of it: learned
parameters, small learned layers, features, logits and losses stay float32. Inside a tower the embeddings, the norms,
the residual stream and the projection stay float32 too, as under torch's autocast; but the frozen weights are rounded
once instead of in every step. Under `torch.autocast` the towers answer to its type.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from atlas_core.backbone.config import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
HALF = (torch.float16, torch.bfloat16)

# A gradient's largest exponent that a scale answers to: 2^-100 and 2^100 are both float32.
_LARGEST_EXPONENT = 100

_asked: ContextVar[torch.dtype | None] = ContextVar("towers_in", default=None)


@contextmanager
def towers_in(precision: Precision) -> Iterator[None]:
    """Compute the towers' matrix products in this type; "fp32" leaves every tower in the type that it has."""
    before = _asked.set(None if precision == "fp32" else DTYPES[precision])
    try:
        yield
    finally:
        _asked.reset(before)


def asked_dtype(device: torch.device) -> torch.dtype | None:
    """The half-precision type that the towers are asked to compute in, or None."""
    asked = _asked.get()
    if asked is None and torch.is_autocast_enabled(device.type):
        asked = torch.get_autocast_dtype(device.type)
    return asked if asked in HALF else None


def wide(x: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is."""
    return x.float() if x.dtype in HALF else x


class GradientScale:
    """Holds the gradients inside of a float16 tower within float16's range (6e-8 to 65504).

    The gradient that enters at the tower's end is multiplied by the power of two that brings its largest element to
    between ½ and 1, and what leaves at the tower's inputs is divided by it in float32: exact, and with nothing to
    keep from one step to the next, unlike a scale for the whole loss that is found by trying. Not needed for
    bfloat16, whose exponents are float32's.
    """

    def __init__(self) -> None:
        self.factor: Tensor | None = None

    def enter(self, x: Tensor) -> Tensor:
        """An input of the tower, in float32: its gradient leaves unscaled."""
        entered: Tensor = _Enter.apply(x, self) if x.requires_grad else x
        return entered

    def leave(self, x: Tensor) -> Tensor:
        """The tower's float32 result: its gradient goes in scaled."""
        left: Tensor = _Leave.apply(x, self) if x.requires_grad else x
        return left


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: GradientScale) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        _, exponent = torch.frexp(gradient.abs().amax())
        exponent = exponent.clamp(-_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        ctx.scale.factor = torch.ldexp(torch.ones_like(gradient[:1, :1]), -exponent)
        return gradient * ctx.scale.factor, None


class _Enter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: GradientScale) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient / ctx.scale.factor, None

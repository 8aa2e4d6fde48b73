"""KgCoOp: CoOp whose class features are kept near those of hand-written prompts (Yao et al., CVPR 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from atlas_core.methods.base import Classes, MethodOptions, TextReference
from atlas_core.methods.coop import CoOp, CoOpOptions


class KgCoOpOptions(CoOpOptions):
    """CoOp's options, and the weight λ of the distance to the hand-written prompts."""

    n_ctx: int = Field(4, ge=1, le=64)
    ctx_init: str = "a photo of a"
    weight: float = Field(8.0, ge=0)


class KgCoOp(CoOp):
    """CoOp with L = CE + λ·(1 − mean_c cos(g_c, g⁰_c)), λ = 8."""

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[KgCoOpOptions]] = KgCoOpOptions
    options: KgCoOpOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        return TextReference((classes.template("kgcoop"),))

    def regulariser(self, image: Tensor, text: Tensor) -> Tensor:
        return self.options.weight * distance_to_reference(text, self.reference)


def distance_to_reference(text: Tensor, reference: Tensor | None) -> Tensor:
    """1 − mean_c cos(g_c, g⁰_c) for class features and their frozen counterparts, both [C, D]."""
    assert reference is not None, "the method was built without its text reference"
    return 1.0 - cosine_similarity(text, reference.to(text.dtype), dim=-1).mean()

"""Options and traits of MaPLe (Khattak et al., CVPR 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import Classes, MethodOptions, Requirements
from atlas_core.methods.traits.visual import VisualOptions, VisualTraits, deep_text_requirements


class MaPLeOptions(VisualOptions):
    """Options of MaPLe.

    Attributes:
        n_ctx: Prompts n in each prompted block. They start from the first n tokens of `ctx_init`; its further
            tokens stay in the prompt as they are.
        ctx_init: Initial words; empty for random N(0, 0.02²).
        depth: Prompted blocks J of both towers; all blocks of the shallower tower if it has fewer.
    """

    n_ctx: int = Field(2, ge=1, le=64)
    ctx_init: str = "a photo of a"
    depth: int = Field(9, ge=1)


class MaPLeTraits(VisualTraits):
    """What planning needs to know of MaPLe."""

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[MaPLeOptions]] = MaPLeOptions

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        assert isinstance(options, MaPLeOptions)
        return deep_text_requirements(options.ctx_init, options.n_ctx)

"""Options and traits of CoCoOp (Zhou et al., CVPR 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import (
    Classes,
    Cost,
    MethodOptions,
    MethodTraits,
    Requirements,
    placeholder,
    words,
)


class CoCoOpOptions(MethodOptions):
    """Options of CoCoOp.

    Attributes:
        n_ctx: Context vectors M; the number of words of `ctx_init` wins where that is given.
        ctx_init: Words whose embeddings the context starts from; empty for random N(0, 0.02²).
        reduction: The meta-net's hidden layer has D // reduction units.
        text_chunk: Prompts (one an image and class) encoded at a time with recomputation in the backward
            pass; None for all at once.
        prediction_chunk: Prompts encoded at a time in prediction, whole images at least.
    """

    n_ctx: int = Field(4, ge=1, le=64)
    ctx_init: str = "a photo of a"
    reduction: int = Field(16, ge=1)
    text_chunk: Cost[int | None] = Field(None, ge=1)
    prediction_chunk: Cost[int] = Field(1024, ge=1)


class CoCoOpTraits(MethodTraits):
    """What planning needs to know of CoCoOp."""

    template_families: ClassVar[tuple[str, ...] | None] = ()
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[CoCoOpOptions]] = CoCoOpOptions

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        assert isinstance(options, CoCoOpOptions)
        return Requirements(prompt=f"{' '.join(words(options.ctx_init)) or placeholder(options.n_ctx)} {{}}.")

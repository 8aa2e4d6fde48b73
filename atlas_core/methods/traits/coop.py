"""Options and traits of CoOp (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import (
    Classes,
    Cost,
    MethodOptions,
    MethodTraits,
    Position,
    Requirements,
    placeholder,
    words,
)


class CoOpOptions(MethodOptions):
    """Options of CoOp.

    Attributes:
        n_ctx: Context vectors M; the number of words of `ctx_init` wins where that is given.
        ctx_init: Words whose embeddings the context starts from; empty for random N(0, 0.02²).
        position: Where the class name stands.
        class_specific: One context a class; such a context cannot be used with other classes.
        text_chunk: Classes encoded at a time with recomputation in the backward pass; None for all at once.
    """

    n_ctx: int = Field(16, ge=1, le=64)
    ctx_init: str = ""
    position: Position = "end"
    class_specific: bool = False
    text_chunk: Cost[int | None] = Field(None, ge=1)


class CoOpTraits(MethodTraits):
    """What planning needs to know of CoOp."""

    stackable = True
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[CoOpOptions]] = CoOpOptions

    @classmethod
    def prompt_prefix(cls, options: CoOpOptions, classes: Classes) -> str:
        """The text in front of the name whose first M tokens the context replaces."""
        return " ".join(words(options.ctx_init)) or placeholder(options.n_ctx)

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        assert isinstance(options, CoOpOptions)
        prompt = f"{cls.prompt_prefix(options, classes)} {{}}."
        return Requirements(own_classes=options.class_specific, prompt=prompt)

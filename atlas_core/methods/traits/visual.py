"""Options and traits of every method with visual prompts."""

from __future__ import annotations

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


class VisualOptions(MethodOptions):
    """Options of cost that every method with visual prompts has.

    Attributes:
        gradient_checkpointing: Recompute each image block in the backward pass: less memory, more time.
        text_chunk: Classes encoded at a time with recomputation in the backward pass; None for all at once.
    """

    gradient_checkpointing: Cost[bool] = False
    text_chunk: Cost[int | None] = Field(None, ge=1)


class VisualTraits(MethodTraits):
    """What planning needs to know of VisualMethod."""

    image_input = "pixels"
    template_families: ClassVar[tuple[str, ...] | None] = ()
    Options: ClassVar[type[VisualOptions]] = VisualOptions

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        return Requirements(vision_transformer=True)


def deep_text_requirements(ctx_init: str, n_ctx: int) -> Requirements:
    """Those of a method with prompts in both towers, which start from the first `n_ctx` tokens of `ctx_init`."""
    initial = " ".join(words(ctx_init))
    return Requirements(
        vision_transformer=True,
        prompt=f"{initial or placeholder(n_ctx)} {{}}.",
        initial=(initial, n_ctx if initial else 0),
    )

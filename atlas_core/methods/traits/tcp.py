"""Options and traits of TCP (Yao et al., CVPR 2024)."""

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
    TextReference,
    placeholder,
    words,
)

_PLACES = placeholder(4)  # how the published prompts mark the context's places


class TCPOptions(MethodOptions):
    """Options of TCP.

    Attributes:
        n_ctx: Context vectors M, and class-aware vectors that take their places.
        ctx_init: Words whose embeddings the context starts from; empty for random N(0, 0.02²).
        inject_at: Text block (0-based) at whose input the class-aware vectors replace the context; None for
            two thirds of the tower, which is 8 of CLIP's 12.
        reduction: The class-aware network's hidden layer has D // reduction units.
        weight: λ of the distance to the hand-written prompts.
        text_chunk: Classes encoded at a time with recomputation in the backward pass; None for all at once.
    """

    n_ctx: int = Field(4, ge=1, le=64)
    ctx_init: str = ""
    inject_at: int | None = Field(None, ge=1)
    reduction: int = Field(4, ge=1)
    weight: float = Field(8.0, ge=0)
    text_chunk: Cost[int | None] = Field(None, ge=1)


class TCPTraits(MethodTraits):
    """What planning needs to know of TCP."""

    template_families = ("tcp", "tcp_prompt")
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[TCPOptions]] = TCPOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        return TextReference((classes.template("tcp"),))

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        assert isinstance(options, TCPOptions)
        initial = " ".join(words(options.ctx_init))
        return Requirements(
            prompt=cls.prompt_template(options, classes),
            initial=(initial, options.n_ctx if initial else 0),
            text_block=options.inject_at,
        )

    @classmethod
    def prompt_template(cls, options: TCPOptions, classes: Classes) -> str:
        """The prompt whose first tokens the context takes: family `tcp_prompt`, or `coop` from its name on."""
        own = classes.templates.get("tcp_prompt")
        if own is None:
            coop = classes.template("coop")
            own = f"{_PLACES} {coop[coop.index('{}') :]}"
        return placeholder(options.n_ctx) + own.removeprefix(_PLACES) if own.startswith(_PLACES) else own

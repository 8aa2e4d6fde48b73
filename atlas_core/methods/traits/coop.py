"""Options and traits of CoOp (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from atlas_core.errors import AtlasError
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
        class_specific: One context a class, from random numbers; such a context cannot be used with other classes.
            The published trainers leave this setting out where the context starts from words, so both is refused.
        text_chunk: Classes encoded at a time with recomputation in the backward pass; None for all at once.
    """

    n_ctx: int = Field(16, ge=1, le=64)
    ctx_init: str = ""
    position: Position = "end"
    class_specific: bool = False
    text_chunk: Cost[int | None] = Field(None, ge=1)

    @property
    def starts_from_words(self) -> bool:
        return bool(self.ctx_init.strip())

    @model_validator(mode="after")
    def _random_start_of_class_specific_contexts(self) -> Self:
        if self.class_specific and self.starts_from_words:
            raise AtlasError(
                "class-specific contexts that start from words",
                expected="contexts of their own from random numbers, or one context from words for all classes: the"
                " published trainers ignore class_specific beside initial words",
                fix=f"set {self._random_start} or class_specific: false",
            )
        return self

    @property
    def _random_start(self) -> str:
        return 'ctx_init: ""'


class CoOpTraits(MethodTraits):
    """What planning needs to know of CoOp."""

    stackable = True
    template_families: ClassVar[tuple[str, ...] | None] = ()
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

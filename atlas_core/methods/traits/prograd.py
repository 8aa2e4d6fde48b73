"""Options and traits of ProGrad (Zhu et al., ICCV 2023)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from atlas_core.methods.traits.base import (
    Classes,
    MethodOptions,
    Requirements,
    TextReference,
    placeholder,
    words,
)
from atlas_core.methods.traits.coop import CoOpOptions, CoOpTraits


class ProGradOptions(CoOpOptions):
    """CoOp's options (whose `ctx_init` is not used), and ProGrad's own.

    Attributes:
        initial: `template`: zeros, then the words in front of the name in the data set's ProGrad template;
            `random`: N(0, 0.02²), as CoOp.
        projection: λ, how much of the conflicting part of the gradient is taken away.
        temperature: T of the distillation loss.
    """

    initial: Literal["template", "random"] = "template"
    projection: float = Field(1.0, ge=0)
    temperature: float = Field(1.0, gt=0)

    @property
    def starts_from_words(self) -> bool:
        return self.initial == "template"

    @property
    def _random_start(self) -> str:
        return "initial: random"


class ProGradTraits(CoOpTraits):
    """What planning needs to know of ProGrad."""

    stackable = False
    template_families = ("prograd",)
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[ProGradOptions]] = ProGradOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        return TextReference((classes.template("prograd"),))

    @classmethod
    def template_words(cls, classes: Classes) -> list[str]:
        """The words in front of the name in the data set's ProGrad template."""
        return words(classes.template("prograd").partition("{}")[0])

    @classmethod
    def prompt_prefix(cls, options: CoOpOptions, classes: Classes) -> str:
        assert isinstance(options, ProGradOptions)
        if options.initial == "random":
            return placeholder(options.n_ctx)
        own = cls.template_words(classes)
        return " ".join([placeholder(options.n_ctx - len(own)), *own]).strip()

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        assert isinstance(options, ProGradOptions)
        own = cls.template_words(classes) if options.initial == "template" else []
        contradiction = ""
        if len(own) > options.n_ctx:
            contradiction = (
                f"{options.n_ctx} context vectors for the {len(own)} words {' '.join(own)!r} of its template"
                " (raise n_ctx, or set `initial: random`)"
            )
        return replace(super().requirements(options, classes), contradiction=contradiction)

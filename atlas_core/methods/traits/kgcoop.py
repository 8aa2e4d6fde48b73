"""Options and traits of KgCoOp (Yao et al., CVPR 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import Classes, MethodOptions, TextReference
from atlas_core.methods.traits.coop import CoOpOptions, CoOpTraits


class KgCoOpOptions(CoOpOptions):
    """CoOp's options, and the weight λ of the distance to the hand-written prompts."""

    n_ctx: int = Field(4, ge=1, le=64)
    ctx_init: str = "a photo of a"
    weight: float = Field(8.0, ge=0)


class KgCoOpTraits(CoOpTraits):
    """What planning needs to know of KgCoOp."""

    template_families = ("kgcoop",)
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[KgCoOpOptions]] = KgCoOpOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        return TextReference((classes.template("kgcoop"),))

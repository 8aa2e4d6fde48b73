"""Options and traits of VPT (Jia et al., ECCV 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import Classes, MethodOptions, TextReference
from atlas_core.methods.traits.visual import VisualOptions, VisualTraits


class VPTOptions(VisualOptions):
    """Options of VPT.

    Attributes:
        n_ctx: Visual prompts in each prompted block.
        depth: Prompted blocks: 1 is VPT-shallow, more is VPT-deep; all blocks if the tower has fewer.
        template: Hand-written prompt of every class. The published code uses this one for every data set.
    """

    n_ctx: int = Field(8, ge=1, le=256)
    depth: int = Field(12, ge=1)
    template: str = "a photo of a {}."


class VPTTraits(VisualTraits):
    """What planning needs to know of VPT."""

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[VPTOptions]] = VPTOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        assert isinstance(options, VPTOptions)
        return TextReference((options.template,))

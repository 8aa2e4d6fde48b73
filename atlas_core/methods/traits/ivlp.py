"""Options and traits of IVLP (Khattak et al., CVPR 2023, section 4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import Classes, MethodOptions, Requirements
from atlas_core.methods.traits.visual import VisualOptions, VisualTraits, deep_text_requirements


class IVLPOptions(VisualOptions):
    """Options of IVLP.

    Attributes:
        n_ctx_text: Text prompts in each prompted block; they start from the first tokens of `ctx_init`, whose
            further tokens stay in the prompt as they are.
        n_ctx_vision: Visual prompts in each prompted block; 0 for prompts in the text alone.
        ctx_init: Initial words; empty for random N(0, 0.02²).
        depth_text, depth_vision: Prompted blocks; all blocks of a tower that has fewer. 0 blocks of the image tower are
            prompts in the text alone.
    """

    n_ctx_text: int = Field(2, ge=1, le=64)
    n_ctx_vision: int = Field(2, ge=0, le=256)
    ctx_init: str = "a photo of a"
    depth_text: int = Field(12, ge=1)
    depth_vision: int = Field(12, ge=0)

    @property
    def language_only(self) -> bool:
        return self.n_ctx_vision == 0 or self.depth_vision == 0


class IVLPTraits(VisualTraits):
    """What planning needs to know of IVLP."""

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[IVLPOptions]] = IVLPOptions

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        assert isinstance(options, IVLPOptions)
        return deep_text_requirements(options.ctx_init, options.n_ctx_text)

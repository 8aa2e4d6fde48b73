"""VPT: prompts in the image tower alone, shallow or deep (Jia et al., ECCV 2022; MaPLe's repository)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.base import Classes, MethodOptions, TextReference
from atlas_core.methods.prompts import random_context
from atlas_core.methods.visual import VisualMethod, VisualOptions, clamp_depth, prompt_image


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


class VPT(VisualMethod):
    """Learned prompts in the image tower; the text stays as it is.

    Learned: `visual_prompts` [J, n, Wv]. `reference` [C, D] holds the class features.
    """

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[VPTOptions]] = VPTOptions
    options: VPTOptions

    def __init__(
        self,
        clip: FrozenClip,
        classes: Classes,
        options: MethodOptions,
        *,
        generator: torch.Generator,
        reference: Tensor | None = None,
    ) -> None:
        super().__init__(clip, classes, options, generator=generator, reference=reference)
        tower = clip.image_tower()
        shape = (clamp_depth(self.options.depth, tower), self.options.n_ctx, tower.width)
        self.visual_prompts = nn.Parameter(random_context(shape, generator).to(clip.device))

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        assert isinstance(options, VPTOptions)
        return TextReference((options.template,))

    def text_features(self) -> Tensor:
        assert self.reference is not None
        return self.reference

    def image_features(self, pixels: Tensor) -> Tensor:
        return prompt_image(self.clip, pixels, self.visual_prompts, self.options.gradient_checkpointing)

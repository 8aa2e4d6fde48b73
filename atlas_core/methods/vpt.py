"""VPT: prompts in the image tower alone, shallow or deep (Jia et al., ECCV 2022; MaPLe's repository)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.prompts import random_context
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.vpt import VPTOptions, VPTTraits
from atlas_core.methods.visual import VisualMethod, clamp_depth, prompt_image


class VPT(VPTTraits, VisualMethod):
    """Learned prompts in the image tower; the text stays as it is.

    Learned: `visual_prompts` [J, n, Wv]. `reference` [C, D] holds the class features.
    """

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

    def text_features(self) -> Tensor:
        assert self.reference is not None
        return self.reference

    def image_features(self, pixels: Tensor) -> Tensor:
        return prompt_image(self.clip, pixels, self.visual_prompts, self.options.gradient_checkpointing)

"""IVLP: prompts in both towers, learned independently (Khattak et al., CVPR 2023, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.prompts import random_context
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.ivlp import IVLPOptions, IVLPTraits
from atlas_core.methods.visual import (
    VisualMethod,
    clamp_depth,
    initial_text_prompts,
    place_text_prompts,
    prompt_image,
)


class IVLP(IVLPTraits, VisualMethod):
    """Deep prompts in the text and in the image tower, independent of each other.

    Learned: `text_prompts` [Jt, n, Wt] and `visual_prompts` [Jv, m, Wv], which a language-only IVLP does not have.
    """

    options: IVLPOptions
    visual_prompts: nn.Parameter | None

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
        own = self.options
        depth = clamp_depth(own.depth_text, clip.text)
        text = initial_text_prompts(clip, own.ctx_init, own.n_ctx_text, depth, generator)
        self.text_prompts = nn.Parameter(text.to(clip.device))
        self.visual_prompts = None
        if not own.language_only:
            visual = clip.image_tower()
            shape = (clamp_depth(own.depth_vision, visual), own.n_ctx_vision, visual.width)
            self.visual_prompts = nn.Parameter(random_context(shape, generator).to(clip.device))
        self.prompts = place_text_prompts(clip, classes.names, own.ctx_init, own.n_ctx_text)

    def text_features(self) -> Tensor:
        return self.prompts.encode(self.text_prompts, self.options.text_chunk)

    def image_features(self, pixels: Tensor) -> Tensor:
        if self.visual_prompts is None:
            return self.clip.encode_image(pixels)
        return prompt_image(self.clip, pixels, self.visual_prompts, self.options.gradient_checkpointing)

"""IVLP: prompts in both towers, learned independently (Khattak et al., CVPR 2023, section 4.2)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.base import Classes, MethodOptions
from atlas_core.methods.prompts import random_context
from atlas_core.methods.visual import (
    VisualMethod,
    VisualOptions,
    clamp_depth,
    initial_text_prompts,
    place_text_prompts,
    prompt_image,
)


class IVLPOptions(VisualOptions):
    """Options of IVLP.

    Attributes:
        n_ctx_text: Text prompts in each prompted block; they start from the first tokens of `ctx_init`, whose
            further tokens stay in the prompt as they are.
        n_ctx_vision: Visual prompts in each prompted block.
        ctx_init: Initial words; empty for random N(0, 0.02²).
        depth_text, depth_vision: Prompted blocks; all blocks of a tower that has fewer.
    """

    n_ctx_text: int = Field(2, ge=1, le=64)
    n_ctx_vision: int = Field(2, ge=1, le=256)
    ctx_init: str = "a photo of a"
    depth_text: int = Field(12, ge=1)
    depth_vision: int = Field(12, ge=1)


class IVLP(VisualMethod):
    """Deep prompts in the text and in the image tower, independent of each other.

    Learned: `text_prompts` [Jt, n, Wt] and `visual_prompts` [Jv, m, Wv].
    """

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[IVLPOptions]] = IVLPOptions
    options: IVLPOptions

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
        own, visual = self.options, clip.image_tower()
        depth = clamp_depth(own.depth_text, clip.text)
        text = initial_text_prompts(clip, own.ctx_init, own.n_ctx_text, depth, generator)
        shape = (clamp_depth(own.depth_vision, visual), own.n_ctx_vision, visual.width)
        self.text_prompts = nn.Parameter(text.to(clip.device))
        self.visual_prompts = nn.Parameter(random_context(shape, generator).to(clip.device))
        self.prompts = place_text_prompts(clip, classes.names, own.ctx_init, own.n_ctx_text)

    def text_features(self) -> Tensor:
        return self.prompts.encode(self.text_prompts, self.options.text_chunk)

    def image_features(self, pixels: Tensor) -> Tensor:
        return prompt_image(self.clip, pixels, self.visual_prompts, self.options.gradient_checkpointing)

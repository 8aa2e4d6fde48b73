"""MaPLe: text prompts, and visual prompts that are linear functions of them (Khattak et al., CVPR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.layers import linear
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.maple import MaPLeOptions, MaPLeTraits
from atlas_core.methods.visual import (
    VisualMethod,
    clamp_depth,
    initial_text_prompts,
    place_text_prompts,
    prompt_image,
)


class MaPLe(MaPLeTraits, VisualMethod):
    """Deep text prompts coupled to visual prompts by one linear map a block.

    Learned: `text_prompts` [J, n, Wt], `coupling_weight` [J, Wv, Wt] and `coupling_bias` [J, Wv]; the visual
    prompts are `text_prompts[j] · coupling_weight[j]ᵀ + coupling_bias[j]` (section 3.3, eq. 6).
    """

    options: MaPLeOptions

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
        depth = clamp_depth(own.depth, clip.text, visual)
        text = initial_text_prompts(clip, own.ctx_init, own.n_ctx, depth, generator)
        weight, bias = initial_coupling(depth, clip.text.width, visual.width, generator)
        self.text_prompts = nn.Parameter(text.to(clip.device))
        self.coupling_weight = nn.Parameter(weight.to(clip.device))
        self.coupling_bias = nn.Parameter(bias.to(clip.device))
        self.prompts = place_text_prompts(clip, classes.names, own.ctx_init, own.n_ctx)

    def visual_prompts(self) -> Tensor:
        """[J, n, Wv]."""
        coupled = torch.einsum("jnt,jvt->jnv", self.text_prompts, self.coupling_weight)
        return coupled + self.coupling_bias[:, None]

    def text_features(self) -> Tensor:
        return self.prompts.encode(self.text_prompts, self.options.text_chunk)

    def image_features(self, pixels: Tensor) -> Tensor:
        return prompt_image(self.clip, pixels, self.visual_prompts(), self.options.gradient_checkpointing)


def initial_coupling(
    depth: int, text_width: int, visual_width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Weights [J, Wv, Wt] and biases [J, Wv], as torch's linears start.

    The maps of the deeper blocks all start from one draw, as in the published code, which clones them.
    """
    first, deeper = (linear(text_width, visual_width, generator) for _ in range(2))
    maps = [first, *[deeper] * (depth - 1)]
    weight, bias = torch.stack([each.weight for each in maps]), torch.stack([each.bias for each in maps])
    return weight.detach(), bias.detach()

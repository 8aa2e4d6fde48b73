"""PromptSRC: IVLP held near the frozen CLIP by three consistency losses (Khattak et al., ICCV 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas_core.backbone.clip import normalise
from atlas_core.backbone.image import forward_prompted_and_frozen
from atlas_core.methods.base import Batch, CrossEntropy
from atlas_core.methods.ivlp import IVLP
from atlas_core.methods.traits.promptsrc import PromptSRCOptions, PromptSRCTraits
from atlas_core.methods.visual import split_prompts


class PromptSRC(PromptSRCTraits, IVLP):
    """Independent deep prompts with self-regularising constraints and Gaussian weight averaging.

    `reference` [C, D] is g⁰, the normalised mean of the un-normalised features of 60 templates. The averaging
    (section 3.3) is the recipe's `average`.
    """

    options: PromptSRCOptions
    visual_prompts: nn.Parameter  # its options ask for one at least

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        """Cross-entropy + λ₁ mean|g − g⁰| + λ₂ mean|f − f⁰| + KL(p⁰ ‖ p) / (B·C), eqs. 4 to 6."""
        assert self.reference is not None, "the method was built without its text reference"
        image, frozen = self.prompted_and_frozen(batch)
        f, g = normalise(image), normalise(self.text_features())
        f0, g0 = normalise(frozen), normalise(self.reference)
        logits = self.clip.logit_scale * f @ g.T
        drift = self.options.text_weight * (g - g0).abs().mean()
        drift = drift + self.options.image_weight * (f - f0).abs().mean()
        divergence = mean_divergence(logits, self.clip.logit_scale * f0 @ g0.T)
        return cross_entropy(logits) + drift + self.options.logit_weight * divergence, logits

    def prompted_and_frozen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Raw image features [B, D] of the views with the prompts, and without them (no gradients)."""
        pixels = self.images(batch)
        if self.options.frozen_features == "cached":
            return self.image_features(pixels), batch.features
        first, deep = split_prompts(self.visual_prompts)
        recompute = self.options.gradient_checkpointing
        return forward_prompted_and_frozen(self.clip.image_tower(), pixels, first, deep, recompute)


def mean_divergence(logits: Tensor, frozen_logits: Tensor) -> Tensor:
    """Σ KL(softmax(frozen) ‖ softmax(logits)) over images, divided by B·C as published (not by B)."""
    p, p0 = torch.log_softmax(logits, dim=1), torch.log_softmax(frozen_logits, dim=1)
    return F.kl_div(p, p0, reduction="sum", log_target=True) / logits.numel()

"""Training steps as the published code does them: every image and every class through both towers, every step.

Written out from the papers' procedures over open_clip's own modules: the image tower encodes the step's images at full
size, and the text tower encodes all 77 positions of every class's prompt. Loading and augmenting the images, which
the published loop also does, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PublishedCoOp(nn.Module):
    """CoOp with one context for all classes, the class name at the end (Zhou et al., IJCV 2022, section 3.2).

    Args:
        model: An open_clip `CLIP` whose weights ask for no gradients.
        context: [M, W] initial context vectors.
    """

    def __init__(self, model: Any, names: Sequence[str], context: Tensor) -> None:
        super().__init__()
        self.frozen = (model,)  # in a tuple, so that its weights are no parameters of this module
        self.ctx = nn.Parameter(context.clone())
        placeholders = " ".join(["X"] * len(context))
        self.ids = open_clip.SimpleTokenizer()([f"{placeholders} {name}." for name in names])
        with torch.no_grad():
            embedded = model.token_embedding(self.ids)
        self.before, self.after = embedded[:, :1], embedded[:, 1 + len(context) :]

    def text_features(self, context: Tensor) -> Tensor:
        """Raw class features [C, D] with a context [M, W]."""
        (model,) = self.frozen
        shared = context.expand(len(self.ids), -1, -1)
        x = torch.cat([self.before, shared, self.after], dim=1) + model.positional_embedding
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
        features: Tensor = x[torch.arange(len(x)), self.ids.argmax(dim=-1)] @ model.text_projection
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [B, C] of normalised images [B, 3, H, W]."""
        (model,) = self.frozen
        image = F.normalize(model.visual(pixels), dim=-1)
        text = F.normalize(self.text_features(self.ctx), dim=-1)
        logits: Tensor = model.logit_scale.exp() * image @ text.T
        return logits


class PublishedCoCoOp(PublishedCoOp):
    """CoCoOp: one pass of the text tower over all classes for each image (Zhou et al., CVPR 2022, section 3.2).

    Args:
        hidden: [H, D] weights and [H] biases of the meta-net's first layer.
        shift: [W, H] weights and [W] biases of its second.
    """

    def __init__(
        self,
        model: Any,
        names: Sequence[str],
        context: Tensor,
        hidden: tuple[Tensor, Tensor],
        shift: tuple[Tensor, Tensor],
    ) -> None:
        super().__init__(model, names, context)
        self.hidden_weight, self.hidden_bias = (nn.Parameter(each.clone()) for each in hidden)
        self.shift_weight, self.shift_bias = (nn.Parameter(each.clone()) for each in shift)

    def forward(self, pixels: Tensor) -> Tensor:
        (model,) = self.frozen
        image = F.normalize(model.visual(pixels), dim=-1)
        inner = torch.relu(F.linear(image, self.hidden_weight, self.hidden_bias))
        rows = []
        for feature, bias in zip(image, F.linear(inner, self.shift_weight, self.shift_bias), strict=True):
            text = F.normalize(self.text_features(self.ctx + bias), dim=-1)
            rows.append(model.logit_scale.exp() * feature @ text.T)
        return torch.stack(rows)


class PublishedTraining:
    """A published method under SGD as published, one step a call."""

    def __init__(self, method: nn.Module, pixels: Tensor, labels: Tensor, lr: float = 0.002) -> None:
        self.method, self.pixels, self.labels = method, pixels, labels
        self.optimiser = torch.optim.SGD(method.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)

    def step(self) -> float:
        """One step; returns its loss."""
        loss = F.cross_entropy(self.method(self.pixels), self.labels)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

"""The class features of several methods from one batch of prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atlas_core.backbone.text import encode_prompts
from atlas_core.methods.coop import CoOp

# Numbers that a token leaves behind in a block for the backward pass, in units of the tower's width (measured:
# 24 stacked runs of 49 tokens in ViT-B/16's tower take 0.4 GB more than one).
_KEPT_PER_TOKEN = 16


def kept_bytes(method: CoOp) -> int:
    """About how many bytes one run of a stack keeps between its forward and its backward pass."""
    tower = method.clip.text
    tokens = method.layout.n_prefix + method.layout.n_tokens
    return tokens * len(tower.blocks) * tower.width * _KEPT_PER_TOKEN * 4


class StackedText:
    """The class features of several methods from one batch of prompts, one prefix group a method."""

    def __init__(self, methods: Sequence[CoOp]) -> None:
        first = methods[0]
        self.methods = methods
        self.tower, self.chunks = first.clip.text, first.options.text_chunk
        self.layout = first.layout.repeat(len(methods))
        self.suffix = first.suffix.repeat(len(methods), 1)

    def features(self) -> Tensor:
        """Raw class features [R, C, D] of R methods, with gradients to each one's context."""
        contexts = [torch.cat([each.start, each.ctx.to(each.start.dtype)]) for each in self.methods]
        flat = encode_prompts(self.tower, self.layout, torch.stack(contexts), self.suffix, chunks=self.chunks)
        return flat.view(len(self.methods), -1, flat.shape[-1])

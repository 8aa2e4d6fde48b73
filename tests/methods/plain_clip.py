"""CLIP written out slowly from an OpenAI-format state dict: what the methods' fast towers are compared with.

Nothing here comes from `atlas_core`: every prompt has all its 77 positions, every head is a loop, every class
and image goes through alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class PlainClip:
    """The towers of a state dict in float32.

    Args:
        state: Names and layout as OpenAI published them.
        text_heads, vision_heads: Heads of each tower, which a state dict does not say.
    """

    def __init__(self, state: dict[str, Tensor], text_heads: int = 4, vision_heads: int = 3) -> None:
        self.state = {name: value.float() for name, value in state.items()}
        self.text_heads, self.vision_heads = text_heads, vision_heads

    @property
    def scale(self) -> float:
        return math.exp(float(self.state["logit_scale"]))

    @property
    def text_layers(self) -> int:
        return self._layers("transformer")

    def embed(self, ids: Tensor) -> Tensor:
        return self.state["token_embedding.weight"][ids]

    def text(self, ids: Tensor, contexts: Tensor | None = None, deep: Sequence[Tensor] = ()) -> Tensor:
        """Raw features [C, D] of prompts [C, 77] whose positions 1..n hold `contexts` [n, W].

        `deep[j]` [n, W] replaces positions 1..n at the input of block j + 1.
        """
        features = []
        for row in ids:
            x = self.embed(row)
            if contexts is not None:
                x = torch.cat([x[:1], contexts, x[1 + len(contexts) :]])
            x = x + self.state["positional_embedding"]
            for index in range(self._layers("transformer")):
                if 1 <= index <= len(deep):
                    fresh = deep[index - 1]
                    x = torch.cat([x[:1], fresh, x[1 + len(fresh) :]])
                x = self._block(f"transformer.resblocks.{index}.", x, self.text_heads, causal=True)
            end = self._norm("ln_final.", x)[int(row.argmax())]
            features.append(end @ self.state["text_projection"])
        return torch.stack(features)

    def image(self, pixels: Tensor, prompts: Tensor | None = None, deep: Sequence[Tensor] = ()) -> Tensor:
        """Raw features [B, D]; `prompts` [n, W] after the patches, `deep[j]` at block j + 1 instead."""
        kernel = self.state["visual.conv1.weight"]
        size = kernel.shape[-1]
        features = []
        for picture in pixels:
            rows = [self.state["visual.class_embedding"]]
            for top in range(0, picture.shape[1], size):
                for left in range(0, picture.shape[2], size):
                    patch = picture[:, top : top + size, left : left + size]
                    rows.append((kernel * patch).sum(dim=(1, 2, 3)))
            x = torch.stack(rows) + self.state["visual.positional_embedding"]
            n_patches = len(x)
            if prompts is not None:
                x = torch.cat([x, prompts])
            x = self._norm("visual.ln_pre.", x)
            for index in range(self._layers("visual.transformer")):
                if 1 <= index <= len(deep):
                    x = torch.cat([x[:n_patches], deep[index - 1]])
                x = self._block(f"visual.transformer.resblocks.{index}.", x, self.vision_heads, causal=False)
            features.append(self._norm("visual.ln_post.", x)[0] @ self.state["visual.proj"])
        return torch.stack(features)

    def logits(self, image: Tensor, text: Tensor) -> Tensor:
        return self.scale * unit(image) @ unit(text).T

    def _layers(self, tower: str) -> int:
        names = [name for name in self.state if name.startswith(f"{tower}.resblocks.")]
        return 1 + max(int(name.removeprefix(f"{tower}.resblocks.").split(".")[0]) for name in names)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
        scaled = (x - mean) / torch.sqrt(variance + 1e-5)
        return scaled * self.state[f"{name}weight"] + self.state[f"{name}bias"]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def _block(self, name: str, x: Tensor, heads: int, *, causal: bool) -> Tensor:
        width = x.shape[-1]
        joint = self._norm(f"{name}ln_1.", x) @ self.state[f"{name}attn.in_proj_weight"].T
        joint = joint + self.state[f"{name}attn.in_proj_bias"]
        q, k, v = joint[:, :width], joint[:, width : 2 * width], joint[:, 2 * width :]
        each = width // heads
        attended = []
        for head in range(heads):
            part = slice(head * each, (head + 1) * each)
            weights = q[:, part] @ k[:, part].T / math.sqrt(each)
            if causal:
                later = torch.ones_like(weights, dtype=torch.bool).triu(1)
                weights = weights.masked_fill(later, float("-inf"))
            attended.append(torch.softmax(weights, dim=-1) @ v[:, part])
        x = x + self._linear(f"{name}attn.out_proj", torch.cat(attended, dim=-1))
        hidden = self._linear(f"{name}mlp.c_fc", self._norm(f"{name}ln_2.", x))
        quick_gelu = hidden / (1 + torch.exp(-1.702 * hidden))
        return x + self._linear(f"{name}mlp.c_proj", quick_gelu)


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of −log p of each row's label, written out."""
    picked = [row.exp()[label] / row.exp().sum() for row, label in zip(logits, labels, strict=True)]
    return -torch.stack(picked).log().mean()

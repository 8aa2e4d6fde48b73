"""What methods with visual prompts share: deep prompts in both towers, initial values, encoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.image import ImageTower, forward
from atlas_core.backbone.text import PromptLayout, TextTower, build_layout, embed_tokens, encode_prompts
from atlas_core.methods.base import Encoder, PromptMethod
from atlas_core.methods.prompts import context_tokens, placeholder, prompt_tokens, random_context, words
from atlas_core.methods.traits.visual import VisualOptions, VisualTraits


class VisualMethod(VisualTraits, PromptMethod):
    """A method with prompts in the image tower. A sub-class gives `text_features` and `image_features`."""

    options: VisualOptions

    def text_features(self) -> Tensor:
        """Raw class features [C, D], with gradients."""
        raise NotImplementedError

    def image_features(self, pixels: Tensor) -> Tensor:
        """Raw image features [B, D] of normalised pixels [B, 3, H, W], with gradients."""
        raise NotImplementedError

    def encoder(self) -> Encoder:
        text = self.text_features()
        return lambda pixels: (self.image_features(pixels), text)


def clamp_depth(depth: int, *towers: TextTower | ImageTower) -> int:
    """How many blocks get prompts of their own: `depth`, or all of the shallowest tower if it has fewer.

    The published code behaves the same: prompts for blocks that do not exist are never read.
    """
    return min(depth, *(tower.layers for tower in towers))


def split_prompts(prompts: Tensor) -> tuple[Tensor, Tensor | None]:
    """Prompts [J, n, W] as those of the input, [n, W], and those of the blocks 1 … J − 1, None if there are none."""
    return prompts[0], prompts[1:] if len(prompts) > 1 else None


def prompt_image(clip: FrozenClip, pixels: Tensor, prompts: Tensor, checkpoint: bool) -> Tensor:
    """Raw image features [B, D]; of prompts [J, n, Wv] item 0 joins the input, item j enters at block j."""
    first, deep = split_prompts(prompts)
    return forward(clip.image_tower(), pixels, first, deep, checkpoint)


def initial_text_prompts(
    clip: FrozenClip, ctx_init: str, n_ctx: int, depth: int, generator: torch.Generator
) -> Tensor:
    """[J, n, Wt]: N(0, 0.02²), but item 0 the embeddings of the first `n_ctx` tokens of `ctx_init` if given.

    Raises:
        AtlasError: `ctx_init` has fewer tokens than `n_ctx`.
    """
    shape = (n_ctx, clip.text.width)
    first = context_tokens(clip, " ".join(words(ctx_init)), n_ctx) if words(ctx_init) else None
    drawn = random_context((depth, *shape), generator)
    return drawn if first is None else torch.cat([first.cpu()[None], drawn[1:]])


@dataclass(frozen=True, eq=False)
class DeepTextPrompts:
    """The fixed part of the prompts `[start][ctx] rest NAME.`; "rest" is what `ctx_init` has beyond n tokens.

    Attributes:
        start: [1, W] the start token's embedding.
        rest: [R, W] the tokens between the contexts and the name, which all classes share.
        suffix: [T, W] the packed tokens of names, stop and end token.
    """

    tower: TextTower
    layout: PromptLayout
    start: Tensor
    rest: Tensor
    suffix: Tensor

    def encode(self, prompts: Tensor, chunks: int | None) -> Tensor:
        """Raw class features [C, D]; prompts [J, n, W], item 0 at the input, item j put in at block j."""
        first, deep = split_prompts(prompts)
        prefix = torch.cat([self.start, first.to(self.start.dtype), self.rest])
        return encode_prompts(self.tower, self.layout, prefix, self.suffix, deep_prompts=deep, chunks=chunks)


def place_text_prompts(
    clip: FrozenClip, names: tuple[str, ...], ctx_init: str, n_ctx: int
) -> DeepTextPrompts:
    """Lay the prompts of these classes out around `n_ctx` context vectors."""
    prefix = " ".join(words(ctx_init)) or placeholder(n_ctx)
    ids = prompt_tokens(clip, names, prefix, n_ctx, "end").ids
    n_prefix = int(clip.tokenize([prefix])[0].argmax())
    layout = build_layout(clip.text, ids, n_prefix)
    return DeepTextPrompts(
        tower=clip.text,
        layout=layout,
        start=embed_tokens(clip.text, ids[0, :1]),
        rest=embed_tokens(clip.text, ids[0, 1 + n_ctx : n_prefix]),
        suffix=embed_tokens(clip.text, layout.token_ids),
    )

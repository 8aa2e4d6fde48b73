"""CoCoOp: a context that each image shifts through a small network (Zhou et al., CVPR 2022)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip, normalise
from atlas_core.backbone.text import PromptLayout, build_layout, embed_tokens, encode_prompts
from atlas_core.methods.base import Encoder, PromptMethod
from atlas_core.methods.layers import linear
from atlas_core.methods.prompts import context_tokens, placeholder, prompt_tokens, random_context, words
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.cocoop import CoCoOpOptions, CoCoOpTraits


class CoCoOp(CoCoOpTraits, PromptMethod):
    """z_ic = s·f_i·g_c(ctx + π(f_i)) with π(f) = W₂·relu(W₁·f) of the normalised f.

    Every image has class features of its own. What does not depend on the class is computed once an image:
    the start token and the context are one prefix of the text tower for all C prompts of that image.
    """

    options: CoCoOpOptions

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
        initial = words(self.options.ctx_init)
        n_ctx, width = len(initial) or self.options.n_ctx, clip.text.width
        hidden = max(1, clip.embed_dim // self.options.reduction)
        context = (
            context_tokens(clip, " ".join(initial), n_ctx)
            if initial
            else random_context((n_ctx, width), generator)
        )
        self.ctx = nn.Parameter(context.to(clip.device))
        self.hidden = linear(clip.embed_dim, hidden, generator).to(clip.device)
        self.shift = linear(hidden, width, generator).to(clip.device)
        ids = prompt_tokens(clip, classes.names, " ".join(initial) or placeholder(n_ctx), n_ctx, "end").ids
        self.start = embed_tokens(clip.text, ids[0, :1])
        layout = build_layout(clip.text, ids, 1 + n_ctx)

        # A batch has the same size in every step, so its layout and word embeddings are made once.
        @lru_cache(maxsize=2)
        def repeated(images: int) -> tuple[PromptLayout, Tensor]:
            copies = layout.repeat(images)
            return copies, embed_tokens(clip.text, copies.token_ids)

        self._repeated = repeated

    def contexts(self, features: Tensor) -> Tensor:
        """Each image's context, [B, M, W], from raw image features [B, D]."""
        unit = normalise(features).to(self.ctx.dtype)
        shift: Tensor = self.shift(torch.relu(self.hidden(unit)))
        return self.ctx + shift[:, None]

    def text_features(self, features: Tensor) -> Tensor:
        """Raw class features [B, C, D] of each image."""
        contexts = self.contexts(features).to(self.start.dtype)
        prefix = torch.cat([self.start.expand(len(features), 1, -1), contexts], dim=1)
        layout, suffix = self._repeated(len(features))
        text = encode_prompts(self.clip.text, layout, prefix, suffix, chunks=self.options.text_chunk)
        return text.view(len(features), len(self.classes), -1)

    def encoder(self) -> Encoder:
        images = max(1, self.options.prediction_chunk // len(self.classes))

        def encode(features: Tensor) -> tuple[Tensor, Tensor]:
            if torch.is_grad_enabled():
                return features, self.text_features(features)
            return features, torch.cat([self.text_features(each) for each in torch.split(features, images)])

        return encode

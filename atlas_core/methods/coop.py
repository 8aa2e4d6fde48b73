"""CoOp: learned context vectors in front of (or around) the class name (Zhou et al., IJCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.text import build_layout, embed_tokens, encode_prompts
from atlas_core.errors import AtlasError
from atlas_core.methods.base import Encoder, PromptMethod
from atlas_core.methods.prompts import context_tokens, prompt_tokens, random_context, words
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.coop import CoOpOptions, CoOpTraits


class CoOp(CoOpTraits, PromptMethod):
    """Learned context vectors in the text prompt."""

    options: CoOpOptions

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
        if self.options.class_specific and not classes.trained:
            raise AtlasError(
                "class-specific contexts belong to the classes they were trained on",
                expected="evaluation on the training classes",
                fix="set class_specific: false for this protocol",
            )
        initial = self.initial_context(generator)
        self.ctx = nn.Parameter(initial.to(clip.device))
        self._place_tokens()

    def initial_context(self, generator: torch.Generator) -> Tensor:
        """[M, W], or [C, M, W] when class-specific."""
        initial_words = words(self.options.ctx_init)
        if initial_words:
            return context_tokens(self.clip, " ".join(initial_words), len(initial_words))
        shape: tuple[int, ...] = (self.options.n_ctx, self.clip.text.width)
        if self.options.class_specific:
            shape = (len(self.classes), *shape)
        return random_context(shape, generator)

    def _place_tokens(self) -> None:
        n_ctx = self.ctx.shape[-2]
        prefix = self.prompt_prefix(self.options, self.classes)
        tokens = prompt_tokens(self.clip, self.classes.names, prefix, n_ctx, self.options.position)
        # A shared context in front of the name is the same for every class, so the tower encodes it once.
        self.shares_prefix = self.options.position == "end" and not self.options.class_specific
        n_prefix = 1 + n_ctx if self.shares_prefix else 1
        self.layout = build_layout(self.clip.text, tokens.ids, n_prefix, distinct=not self.shares_prefix)
        self.start = embed_tokens(self.clip.text, tokens.ids[0, :1])
        self.suffix = embed_tokens(self.clip.text, self.layout.token_ids)
        self.slots = self.layout.flat_positions(tokens.slots) if not self.shares_prefix else None

    def text_features(self) -> Tensor:
        """Raw class features [C, D] of the learned prompts."""
        ctx = self.ctx.to(self.start.dtype)
        if self.slots is None:
            prefix, suffix = torch.cat([self.start, ctx])[None], self.suffix
        else:
            rows = ctx.expand(len(self.classes), *ctx.shape[-2:]).reshape(-1, ctx.shape[-1])
            prefix, suffix = self.start[None], self.suffix.index_copy(0, self.slots.reshape(-1), rows)
        return encode_prompts(self.clip.text, self.layout, prefix, suffix, chunks=self.options.text_chunk)

    def encoder(self) -> Encoder:
        text = self.text_features()
        return lambda features: (features, text)

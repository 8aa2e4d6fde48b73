"""TCP: prompts made of each class's frozen text feature, inside the text tower (Yao et al., CVPR 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.text import build_layout, embed_tokens, encode_prompts
from atlas_core.errors import AtlasError
from atlas_core.methods.base import Encoder, PromptMethod
from atlas_core.methods.kgcoop import distance_to_reference
from atlas_core.methods.layers import linear
from atlas_core.methods.prompts import context_tokens, random_context, words
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.tcp import TCPOptions, TCPTraits


class TCP(TCPTraits, PromptMethod):
    """KgCoOp's loss, with T_c = W₂·quickgelu(W₁·g⁰_c) in place of the context from block 8 on.

    Below that block the start token and the context are the same for every class and computed once; from it
    on the context's positions belong to their class.
    """

    options: TCPOptions

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
        n_ctx, width, hidden = self.options.n_ctx, clip.text.width, clip.embed_dim // self.options.reduction
        initial = words(self.options.ctx_init)
        context = (
            context_tokens(clip, " ".join(initial), n_ctx)
            if initial
            else random_context((n_ctx, width), generator)
        )
        self.ctx = nn.Parameter(context.to(clip.device))
        self.hidden = linear(clip.embed_dim, max(1, hidden), generator).to(clip.device)
        self.prompts = linear(max(1, hidden), n_ctx * width, generator).to(clip.device)
        self.inject_at = injection_block(clip, self.options.inject_at)
        template = self.prompt_template(self.options, classes)
        prompts = [template.format(name) for name in classes.names]
        clip.check_length(prompts)
        ids = clip.tokenize(prompts)
        self.layout = build_layout(clip.text, ids, 1 + n_ctx)
        self.start = embed_tokens(clip.text, ids[0, :1])
        self.suffix = embed_tokens(clip.text, self.layout.token_ids)

    def class_prompts(self) -> Tensor:
        """The class-aware vectors T, [C, M, W], of the classes' frozen features."""
        assert self.reference is not None, "the method was built without its text reference"
        hidden = self.hidden(self.reference.to(self.ctx.dtype))
        made: Tensor = self.prompts(hidden * torch.sigmoid(1.702 * hidden))
        return made.view(len(self.classes), *self.ctx.shape)

    def text_features(self) -> Tensor:
        """Raw class features [C, D]."""
        prefix = torch.cat([self.start, self.ctx.to(self.start.dtype)])
        replace = {self.inject_at: self.class_prompts()}
        chunks = self.options.text_chunk
        return encode_prompts(
            self.clip.text, self.layout, prefix, self.suffix, replace=replace, chunks=chunks
        )

    def encoder(self) -> Encoder:
        text = self.text_features()
        return lambda features: (features, text)

    def regulariser(self, image: Tensor, text: Tensor) -> Tensor:
        return self.options.weight * distance_to_reference(text, self.reference)


def injection_block(clip: FrozenClip, wanted: int | None) -> int:
    """The block whose input the class-aware vectors enter.

    Raises:
        AtlasError: The text tower has no such block.
    """
    layers = clip.text.layers
    block = max(1, round(layers * 8 / 12)) if wanted is None else wanted
    if block >= layers:
        raise AtlasError(
            f"text block {block} for TCP's class-aware prompts",
            expected=f"1 to {layers - 1}, in a tower of {layers} blocks",
            fix="set `inject_at` lower, or leave it out for two thirds of the tower",
        )
    return block

"""CoPrompt: MaPLe with adapters, kept consistent with the frozen CLIP (Roy & Etemad, ICLR 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.base import Batch, CrossEntropy
from atlas_core.methods.layers import linear
from atlas_core.methods.maple import MaPLe
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.coprompt import CoPromptOptions, CoPromptTraits
from atlas_core.training.randomness import stream

_REDUCTION = 4  # trainers/coprompt.py: Adapter(512, 4)


class CoPrompt(CoPromptTraits, MaPLe):
    """MaPLe's coupled prompts, an adapter behind each tower, and consistency with the frozen model.

    Learned: MaPLe's parameters and two adapters Linear(D, D/4) – ReLU – Linear(D/4, D) – ReLU without biases.
    `reference` [K, C, D] holds the frozen features of K sentences a class.
    """

    options: CoPromptOptions

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
        self.adapt_image = Adapter(clip.embed_dim, generator).to(clip.device)
        self.adapt_text = Adapter(clip.embed_dim, generator).to(clip.device)
        self.sentence_seed = int(torch.randint(2**31, (), generator=generator))

    def text_features(self) -> Tensor:
        return blend(super().text_features(), self.adapt_text, self.options.text_adapter)

    def image_features(self, pixels: Tensor) -> Tensor:
        return blend(super().image_features(pixels), self.adapt_image, self.options.image_adapter)

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        """CE + W·[1 − mean_c cos(g̃_c, t_kc) + 1 − mean_i cos(f̃_i, f⁰_i)], eqs. 3 to 5.

        f⁰ is the frozen feature of the second view; sentence k is drawn once a step for all classes.
        """
        assert self.reference is not None, "the method was built without its text reference"
        assert batch.second_features is not None
        image, text = self.encoder()(self.images(batch))
        sentence = self.reference[self.sentence_index(batch.step)].to(text.dtype)
        frozen = batch.second_features.to(image.dtype)
        distance = 2 - cosine_similarity(text, sentence).mean() - cosine_similarity(image, frozen).mean()
        logits = self.cosine_logits(image, text)
        return cross_entropy(logits) + self.options.weight * distance, logits

    def sentence_index(self, step: int) -> int:
        """Which sentence a step uses: the same in a run that was interrupted, and under every supervision."""
        assert self.reference is not None
        generator = stream(self.sentence_seed, "sentence", step)
        return int(torch.randint(len(self.reference), (), generator=generator))


class Adapter(nn.Module):
    """ReLU(U·ReLU(D·x)) on [..., D], the bottleneck a quarter as wide, without biases."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = linear(width, width // _REDUCTION, generator, bias=False)
        self.up = linear(width // _REDUCTION, width, generator, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.up(torch.relu(self.down(x))))


def blend(features: Tensor, adapter: Adapter, share: float) -> Tensor:
    """share·A(x) + (1 − share)·x of raw features [N, D], in the adapter's float32."""
    wide = features.to(adapter.down.weight.dtype)
    adapted: Tensor = adapter(wide)
    return share * adapted + (1 - share) * wide

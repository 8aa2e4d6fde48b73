"""DePT: a class-bound head beside the prompts for what is base classes' own (Zhang et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.base import Batch, CrossEntropy, Predictor, PromptMethod
from atlas_core.methods.cocoop import CoCoOp
from atlas_core.methods.coop import CoOp
from atlas_core.methods.kgcoop import KgCoOp
from atlas_core.methods.layers import FeatureModulation, linear
from atlas_core.methods.maple import MaPLe
from atlas_core.methods.traits.base import Classes, MethodOptions
from atlas_core.methods.traits.dept import (
    DePTCoCoOpOptions,
    DePTCoCoOpTraits,
    DePTCoOpOptions,
    DePTCoOpTraits,
    DePTKgCoOpOptions,
    DePTKgCoOpTraits,
    DePTMaPLeOptions,
    DePTMaPLeTraits,
    DePTOptions,
    DePTTraits,
)


class DePT(DePTTraits, PromptMethod):
    """Channel-adjusted transfer beside a host method's own logits.

    Used as the first base beside a host: `class DePTCoOp(DePT, CoOp)`. The host gives `encoder` and, where it
    has one, `regulariser`; with its raw features f and g, the loss is

        (1 − w)·CE(z, y) + w·CE(A·[FiLM_t(g_y); FiLM_v(f)] + b, [y; y]) + regulariser.

    Trained classes are predicted by (1 − w)·z + w·(A·FiLM_v(f) + b), others by z: they have no head.
    """

    options: DePTOptions

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
        self.film_image = FeatureModulation(clip.embed_dim).to(clip.device)
        self.film_text = FeatureModulation(clip.embed_dim).to(clip.device)
        self.linear: nn.Linear | None = None
        if classes.trained:
            self.linear = linear(clip.embed_dim, len(classes), generator).to(clip.device)

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        assert self.linear is not None, "only trained classes have a linear head"
        image, text = self.encoder()(self.images(batch))
        logits = self.cosine_logits(image, text)
        of_label = text[batch.labels] if text.ndim == 2 else text[torch.arange(len(text)), batch.labels]
        stacked = torch.cat([self.film_text(of_label), self.film_image(image)])
        weight = self.options.linear_weight
        similarity = cross_entropy(logits)
        head = cross_entropy(self.linear(stacked.to(self.linear.weight.dtype)))
        return (1 - weight) * similarity + weight * head + self.regulariser(image, text), logits

    @torch.no_grad()
    def predictor(self) -> Predictor:
        head = self.linear
        if head is None:
            return super().predictor()
        encode = self.encoder()
        own = self.options.prediction_weight
        weight = self.options.linear_weight if own is None else own

        @torch.no_grad()
        def predict(images: Tensor) -> Tensor:
            image, text = encode(images)
            scores: Tensor = head(self.film_image(image).to(head.weight.dtype))
            return (1 - weight) * self.cosine_logits(image, text) + weight * scores

        return predict

    def load_learned_state(self, state: Mapping[str, Tensor], trained: Classes | None = None) -> None:
        """Take over learned parameters; other classes get no head.

        Where all of them are among `trained` (ImageNet's variants), they get their rows of the head, as the published
        code does for ImageNet-A and -R.
        """
        rows = None if trained is None else self.classes.rows_among(trained)
        if self.linear is None and rows is not None and "linear.weight" in state:
            parts = ("linear.weight", "linear.bias")
            state = {**state, **{each: state[each][rows] for each in parts}}
            self.linear = nn.Linear(self.clip.embed_dim, len(rows)).to(self.clip.device)
        super().load_learned_state(state, trained)


class DePTCoOp(DePTCoOpTraits, DePT, CoOp):
    """DePT over CoOp."""

    options: DePTCoOpOptions


class DePTKgCoOp(DePTKgCoOpTraits, DePT, KgCoOp):
    """DePT over KgCoOp."""

    options: DePTKgCoOpOptions


class DePTCoCoOp(DePTCoCoOpTraits, DePT, CoCoOp):
    """DePT over CoCoOp."""

    options: DePTCoCoOpOptions


class DePTMaPLe(DePTMaPLeTraits, DePT, MaPLe):
    """DePT over MaPLe: the head reads the features of the prompted towers."""

    options: DePTMaPLeOptions

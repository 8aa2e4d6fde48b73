"""DePT: a class-bound head beside the prompts for what is base classes' own (Zhang et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.base import Batch, Classes, CrossEntropy, MethodOptions, Predictor, PromptMethod
from atlas_core.methods.cocoop import CoCoOp, CoCoOpOptions
from atlas_core.methods.coop import CoOp, CoOpOptions
from atlas_core.methods.kgcoop import KgCoOp, KgCoOpOptions
from atlas_core.methods.layers import FeatureModulation, linear
from atlas_core.methods.maple import MaPLe, MaPLeOptions


class DePTOptions(MethodOptions):
    """What DePT adds to its host's options.

    Attributes:
        linear_weight: w, the linear head's share of the cross-entropy.
        prediction_weight: The linear head's share of the logits of trained classes; None: the same w. 1 is
            the published code's TEST_TIME_FUSION off, 0 the host's logits alone.
    """

    linear_weight: float = Field(0.7, ge=0, le=1)
    prediction_weight: float | None = Field(None, ge=0, le=1)


class DePT(PromptMethod):
    """Channel-adjusted transfer beside a host method's own logits.

    Used as the first base beside a host: `class DePTCoOp(DePT, CoOp)`. The host gives `encoder` and, where it
    has one, `regulariser`; with its raw features f and g, the loss is

        (1 − w)·CE(z, y) + w·CE(A·[FiLM_t(g_y); FiLM_v(f)] + b, [y; y]) + regulariser.

    Trained classes are predicted by (1 − w)·z + w·(A·FiLM_v(f) + b), others by z: they have no head.
    """

    stackable = False  # its loss has a part of its own, whatever the host
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

    def load_learned_state(
        self, state: Mapping[str, Tensor], trained_names: Sequence[str] | None = None
    ) -> None:
        """Take over learned parameters; other classes get no head.

        Where all their names are among `trained_names` (ImageNet's variants), they get those rows of the
        head, as the published code does for ImageNet-A and -R.
        """
        rows = None if trained_names is None else rows_of(self.classes.names, trained_names)
        if self.linear is None and rows is not None and "linear.weight" in state:
            state = {
                **state,
                **{f"linear.{each}": state[f"linear.{each}"][rows] for each in ("weight", "bias")},
            }
            self.linear = nn.Linear(self.clip.embed_dim, len(rows)).to(self.clip.device)
        super().load_learned_state(state, trained_names)


def rows_of(names: Sequence[str], trained: Sequence[str]) -> list[int] | None:
    """Positions of `names` among `trained`, or None unless all are there in this order.

    ImageNet has a few names twice; keeping the order tells them apart.
    """
    rows, start = [], 0
    for name in names:
        try:
            rows.append(trained.index(name, start))
        except ValueError:
            return None
        start = rows[-1] + 1
    return rows


class DePTCoOpOptions(DePTOptions, CoOpOptions):
    """CoOp's options and DePT's."""


class DePTCoOp(DePT, CoOp):
    """DePT over CoOp."""

    defaults_file = Path(__file__).with_name("dept_coop.yaml")
    Options: ClassVar[type[DePTCoOpOptions]] = DePTCoOpOptions
    options: DePTCoOpOptions


class DePTKgCoOpOptions(DePTOptions, KgCoOpOptions):
    """KgCoOp's options and DePT's; its λ is 2 here."""

    weight: float = Field(2.0, ge=0)


class DePTKgCoOp(DePT, KgCoOp):
    """DePT over KgCoOp."""

    defaults_file = Path(__file__).with_name("dept_kgcoop.yaml")
    Options: ClassVar[type[DePTKgCoOpOptions]] = DePTKgCoOpOptions
    options: DePTKgCoOpOptions


class DePTCoCoOpOptions(DePTOptions, CoCoOpOptions):
    """CoCoOp's options and DePT's."""


class DePTCoCoOp(DePT, CoCoOp):
    """DePT over CoCoOp."""

    defaults_file = Path(__file__).with_name("dept_cocoop.yaml")
    Options: ClassVar[type[DePTCoCoOpOptions]] = DePTCoCoOpOptions
    options: DePTCoCoOpOptions


class DePTMaPLeOptions(DePTOptions, MaPLeOptions):
    """MaPLe's options and DePT's."""


class DePTMaPLe(DePT, MaPLe):
    """DePT over MaPLe: the head reads the features of the prompted towers."""

    defaults_file = Path(__file__).with_name("dept_maple.yaml")
    Options: ClassVar[type[DePTMaPLeOptions]] = DePTMaPLeOptions
    options: DePTMaPLeOptions

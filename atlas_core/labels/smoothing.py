"""Label smoothing with one ε for all classes (Szegedy et al., 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from atlas_core.errors import AtlasError
from atlas_core.labels.base import (
    FrozenTargets,
    LabelBatch,
    SourceOptions,
    TargetSource,
    blend,
    required_mix,
)

if TYPE_CHECKING:
    from torch import Tensor

    from atlas_core.labels.config import SupervisionConfig


class SmoothingOptions(SourceOptions):
    """Who shares ε.

    Attributes:
        variant: "uniform" spreads ε over all C classes, the true one included (OLS's repository and Dassl);
            "tfkd" over the C − 1 others (TF-KD's repository). Equal up to ε: the second with ε·(C−1)/C is
            the first.
    """

    variant: Literal["uniform", "tfkd"] = "uniform"


class UniformSmoothing(TargetSource):
    """(1−ε)·e_y + ε/C, or with variant "tfkd" 1−ε for y and ε/(C−1) for the others (protocol section 4)."""

    default_mix: ClassVar[float | None] = 0.1
    Options: ClassVar[type[SourceOptions]] = SmoothingOptions

    @classmethod
    def fewest_classes(cls, config: SupervisionConfig) -> int:
        return 2 if SmoothingOptions.model_validate(config.options).variant == "tfkd" else 1

    def __init__(self, config: SupervisionConfig, frozen: FrozenTargets) -> None:
        super().__init__(config, frozen)
        self._others_only = SmoothingOptions.model_validate(config.options).variant == "tfkd"
        if self._others_only and frozen.n_classes < 2:
            raise AtlasError("label smoothing over the other classes with one class", expected="two or more")

    def target(self, batch: LabelBatch) -> Tensor:
        import torch

        mix, C = required_mix(self.mix), self.n_classes
        labels = batch.labels
        if not self._others_only:
            return blend(labels, torch.full((len(labels), C), 1 / C, device=labels.device), mix)
        others = torch.full((len(labels), C), mix / (C - 1), device=labels.device)
        return others.scatter(1, labels[:, None], 1 - mix)

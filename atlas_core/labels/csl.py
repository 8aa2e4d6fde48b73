"""Class-wise soft labels: one offline distribution a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from atlas_core.labels.base import (
    FrozenTargets,
    LabelBatch,
    TargetSource,
    at_least_single,
    blend,
    required_mix,
    required_table,
)

if TYPE_CHECKING:
    from torch import Tensor

    from atlas_core.labels.config import SupervisionConfig


class ClassWise(TargetSource):
    """(1−ε)·e_y + ε·P_y, P_y = softmax(s_t·g⁰_y·G⁰ᵀ) of the frozen text features (design, "Supervision")."""

    needs: ClassVar[frozenset[str]] = frozenset({"csl"})
    default_mix: ClassVar[float | None] = 1.0
    takes_temperature: ClassVar[bool] = True

    def __init__(self, config: SupervisionConfig, frozen: FrozenTargets) -> None:
        super().__init__(config, frozen)
        self._table = required_table(frozen.csl, self.name, "class-wise soft labels")

    def target(self, batch: LabelBatch) -> Tensor:
        labels = batch.labels
        rows = self._table[labels.to(self._table.device)].to(labels.device)
        return blend(labels, at_least_single(rows), required_mix(self.mix))

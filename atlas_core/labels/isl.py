"""Instance-wise soft labels: one offline distribution an image, or an image's view."""

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


class InstanceWise(TargetSource):
    """(1−ε)·e_y + ε·softmax(s_t·f⁰·G⁰ᵀ), the frozen model's zero-shot prediction (design, "Supervision")."""

    needs: ClassVar[frozenset[str]] = frozenset({"isl"})
    default_mix: ClassVar[float | None] = 1.0
    takes_temperature: ClassVar[bool] = True

    def __init__(self, config: SupervisionConfig, frozen: FrozenTargets) -> None:
        super().__init__(config, frozen)
        self._table = required_table(frozen.isl, self.name, "instance-wise soft labels")

    def target(self, batch: LabelBatch) -> Tensor:
        rows = at_least_single(batch.instance_rows(self._table))
        return blend(batch.labels, rows, required_mix(self.mix))

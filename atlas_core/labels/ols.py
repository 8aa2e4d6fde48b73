"""Online label smoothing (Zhang et al., 2021), as protocol section 4 reads it from OLS's code.

One matrix [C, C] of soft labels, row y for class y. During an epoch, every sample whose arg max is its class
adds softmax(z) (detached, before the step's update) to S[y] and 1 to n[y]. At the epoch's end,

    row y ← S[y] / n[y]   if n[y] ≥ 1, and row y's maximum is below `freeze_above` (where that is set);
    row y ← 1/C           if n[y] = 0, frozen or not;

and S and n start again from zero: there is no average over epochs. The target of the next epoch is
hard_weight·e_y + soft_weight·row_y. The classification code starts from a matrix of zeros, so that its first
epoch is ½·CE; the fine-grained code starts uniform, weighs 1 + 1 and freezes above 0.88.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from atlas_core.labels.base import FrozenTargets, LabelBatch, SourceOptions, TargetSource, check_state

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from atlas_core.labels.config import SupervisionConfig


class OnlineOptions(SourceOptions):
    """Constants of OLS (those of its CIFAR and ImageNet code).

    Attributes:
        initial: Matrix of the first epoch: "zeros" or "uniform" (1/C).
        hard_weight: Weight of e_y.
        soft_weight: Weight of the matrix row.
        freeze_above: Keep a row from then on when its maximum reaches this; None never does.
    """

    initial: Literal["zeros", "uniform"] = "zeros"
    hard_weight: float = Field(0.5, ge=0, allow_inf_nan=False)
    soft_weight: float = Field(0.5, ge=0, allow_inf_nan=False)
    freeze_above: float | None = Field(None, gt=0, le=1)


class OnlineSmoothing(TargetSource):
    """hard·e_y + soft·(mean prediction over the last epoch's correctly predicted samples of class y)."""

    Options: ClassVar[type[SourceOptions]] = OnlineOptions

    def __init__(self, config: SupervisionConfig, frozen: FrozenTargets) -> None:
        import torch

        super().__init__(config, frozen)
        self._constants = OnlineOptions.model_validate(config.options)
        C = frozen.n_classes
        start = 1 / C if self._constants.initial == "uniform" else 0.0
        # float64: atomics on a GPU add in any order, and here that is lost again in the target's float32.
        self._matrix = torch.full((C, C), start, dtype=torch.float64)
        self._sums = torch.zeros(C, C, dtype=torch.float64)
        self._counts = torch.zeros(C, dtype=torch.float64)

    def target(self, batch: LabelBatch) -> Tensor:
        labels = batch.labels
        self._move_to(labels.device)
        soft = self._constants.soft_weight * self._matrix[labels]
        hard = soft.new_full((len(labels), 1), self._constants.hard_weight)
        return soft.scatter_add(1, labels[:, None], hard)

    def observe(self, logits: Tensor, batch: LabelBatch) -> None:
        self._move_to(batch.labels.device)
        probabilities = logits.detach().to(self._sums.dtype).softmax(-1)
        # A sample predicted wrong adds zeros: no boolean indexing, hence no wait for the device.
        correct = (logits.detach().argmax(-1) == batch.labels).to(self._sums.dtype)
        self._sums.index_add_(0, batch.labels, probabilities * correct[:, None])
        self._counts.index_add_(0, batch.labels, correct)

    def end_epoch(self) -> None:
        import torch

        seen = (self._counts > 0)[:, None]
        matrix = torch.where(seen, self._sums / self._counts.clamp(min=1)[:, None], 1 / self.n_classes)
        if self._constants.freeze_above is not None:
            frozen = self._matrix.amax(-1, keepdim=True) >= self._constants.freeze_above
            matrix = torch.where(frozen & seen, self._matrix, matrix)
        self._matrix = matrix
        self._sums.zero_()
        self._counts.zero_()

    def state(self) -> dict[str, Tensor]:
        return {
            "matrix": self._matrix.clone(),
            "sums": self._sums.clone(),
            "counts": self._counts.clone(),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        check_state(self.name, state, self.state())
        self._matrix = state["matrix"].to(self._matrix, copy=True)
        self._sums = state["sums"].to(self._sums, copy=True)
        self._counts = state["counts"].to(self._counts, copy=True)

    def _move_to(self, place: torch.device) -> None:
        if self._matrix.device == place:
            return
        import torch

        dtype = torch.float32 if place.type == "mps" else torch.float64  # Apple GPUs have no float64
        self._matrix = self._matrix.to(place, dtype)
        self._sums = self._sums.to(place, dtype)
        self._counts = self._counts.to(place, dtype)

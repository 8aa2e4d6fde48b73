"""One-hot labels: the plain cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_core.labels.base import LabelBatch, TargetSource, at_least_single

if TYPE_CHECKING:
    from torch import Tensor


class OneHot(TargetSource):
    """The target e_y (protocol section 1.0, "loss base")."""

    def target(self, batch: LabelBatch) -> Tensor:
        from torch.nn import functional as F

        return F.one_hot(batch.labels, self.n_classes).float()

    def loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        from torch.nn import functional as F

        # Equal to the soft cross-entropy with e_y, without building it.
        return F.cross_entropy(at_least_single(logits), batch.labels)

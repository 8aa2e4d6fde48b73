"""One-hot labels: the plain cross-entropy."""

from torch import Tensor
from torch.nn import functional as F

from atlas_core.labels.base import LabelBatch, TargetSource, at_least_single


class OneHot(TargetSource):
    """The target e_y (protocol section 1.0, "loss base")."""

    def target(self, batch: LabelBatch) -> Tensor:
        return F.one_hot(batch.labels, self.n_classes).float()

    def loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        # Equal to the soft cross-entropy with e_y, without building it.
        return F.cross_entropy(at_least_single(logits), batch.labels)

"""Teacher-free knowledge distillation (Yuan et al., 2020), as protocol section 4 reads it from TF-KD's code.

Both losses average the divergence over all B·C elements rather than over the batch, as KLDivLoss does by
default in the PyTorch of their time; that is why their multiplier `m` is large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from atlas_core.errors import AtlasError
from atlas_core.labels.base import FrozenTargets, LabelBatch, LabelSource, SourceOptions, at_least_single

if TYPE_CHECKING:
    from torch import Tensor

    from atlas_core.labels.config import SupervisionConfig


class VirtualTeacherOptions(SourceOptions):
    """Constants of the virtual teacher (TF-KD's ResNet-18 values).

    Attributes:
        a: Virtual teacher's confidence in the true class.
        alpha: Weight of the divergence; 1 − alpha is the cross-entropy's.
        T: Temperature that the teacher's probabilities are divided by.
        m: Multiplier of the divergence.
    """

    a: float = Field(0.99, gt=0, lt=1)
    alpha: float = Field(0.1, ge=0, le=1)
    T: float = Field(20.0, gt=0, allow_inf_nan=False)
    m: float = Field(100.0, ge=0, allow_inf_nan=False)


class VirtualTeacher(LabelSource):
    """(1−α)·CE + α·m·mean_ic KL(softmax(u/T) ‖ softmax(z)), u = a for y and (1−a)/(C−1) for the others.

    As in the original: the softmax is taken of *probabilities* over T (so at T = 20 the teacher is nearly
    uniform), the student is not divided by T, and there is no factor T².
    """

    Options: ClassVar[type[SourceOptions]] = VirtualTeacherOptions

    @classmethod
    def fewest_classes(cls, config: SupervisionConfig) -> int:
        return 2

    def __init__(self, config: SupervisionConfig, frozen: FrozenTargets) -> None:
        super().__init__(config, frozen)
        self._constants = VirtualTeacherOptions.model_validate(config.options)
        if frozen.n_classes < 2:
            raise AtlasError("a virtual teacher over one class", expected="two or more classes")

    def loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        import torch
        from torch.nn import functional as F

        c, logits = self._constants, at_least_single(logits)
        log_student = logits.log_softmax(-1)
        others = torch.full_like(logits, (1 - c.a) / (self.n_classes - 1))
        teacher = (others.scatter(1, batch.labels[:, None], c.a) / c.T).softmax(-1)
        divergence = F.kl_div(log_student, teacher, reduction="none").mean()
        return (1 - c.alpha) * F.nll_loss(log_student, batch.labels) + c.alpha * c.m * divergence


class SelfTeacherOptions(SourceOptions):
    """Constants of the self-teacher (TF-KD's ResNet-18 values).

    Attributes:
        alpha: Weight of the divergence; 1 − alpha is the cross-entropy's.
        T: Temperature that the scaled logits of student and teacher are divided by.
        m: Multiplier of the divergence.
    """

    alpha: float = Field(0.95, ge=0, le=1)
    T: float = Field(6.0, gt=0, allow_inf_nan=False)
    m: float = Field(50.0, ge=0, allow_inf_nan=False)


class SelfTeacher(LabelSource):
    """(1−α)·CE + α·m·T²·mean_ic KL(softmax(zᵗ/T) ‖ softmax(z/T)).

    The teacher's logits zᵗ come from the same method trained with one-hot labels, on the same views.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"teacher"})
    Options: ClassVar[type[SourceOptions]] = SelfTeacherOptions

    def __init__(self, config: SupervisionConfig, frozen: FrozenTargets) -> None:
        super().__init__(config, frozen)
        self._constants = SelfTeacherOptions.model_validate(config.options)

    def loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        if batch.teacher_logits is None:
            raise AtlasError(
                f"label source {self.name!r} has no teacher logits",
                expected="the logits of a run of the same method with one_hot",
                fix="train that run first and pass its logits in LabelBatch.teacher_logits",
            )
        from torch.nn import functional as F

        c, logits = self._constants, at_least_single(logits)
        log_student = (logits / c.T).log_softmax(-1)
        teacher = (batch.teacher_logits.detach().to(logits.dtype) / c.T).softmax(-1)
        divergence = F.kl_div(log_student, teacher, reduction="none").mean()
        cross_entropy = F.cross_entropy(logits, batch.labels)
        return (1 - c.alpha) * cross_entropy + c.alpha * c.m * c.T**2 * divergence

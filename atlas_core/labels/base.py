"""What every label source shares: its batch, its offline inputs, its base classes and its registry.

This module needs torch for type checking alone, and this package's sources import it where they compute, so that a
study's supervisions are checked and planned without loading it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import BaseModel, ConfigDict

from atlas_core.errors import AtlasError
from atlas_core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, device

    from atlas_core.labels.config import SupervisionConfig

_SUM_TOLERANCE = 1e-3  # of a row of soft labels; wide enough for tables kept in float16


@dataclass(frozen=True)
class LabelBatch:
    """What a label source may know of a batch of B training samples.

    Args:
        labels: Class of each sample, int64 [B].
        rows: Row of each sample in the training table, int64 [B].
        views: Augmented view of each sample (0-based), int64 [B].
        teacher_logits: Scaled logits of a trained teacher on the same views, [B, C], for sources that need
            "teacher".
    """

    labels: Tensor
    rows: Tensor
    views: Tensor
    teacher_logits: Tensor | None = None

    def repeat(self, n: int) -> LabelBatch:
        """The batch n times over, one copy after the other (DePT stacks text and image features so)."""
        teacher = None if self.teacher_logits is None else self.teacher_logits.repeat(n, 1)
        return replace(
            self,
            labels=self.labels.repeat(n),
            rows=self.rows.repeat(n),
            views=self.views.repeat(n),
            teacher_logits=teacher,
        )

    def instance_rows(self, table: Tensor) -> Tensor:
        """Each sample's row, [B, C], of a table [N, C] (one row an image) or [N, V, C] (one row a view)."""
        rows = self.rows.to(table.device)
        if table.ndim == 2:
            return table[rows].to(self.labels.device)
        return table[rows, self.views.to(table.device)].to(self.labels.device)


@dataclass(frozen=True)
class FrozenTargets:
    """Distributions computed before training, from the frozen model; rows sum to 1.

    Args:
        n_classes: C, the number of classes trained on (base classes alone in base_to_new).
        csl: Class-wise soft labels [C, C], row y for class y.
        isl: Instance-wise soft labels, [N, C] (one a training image) or [N, V, C] (one an augmented view).

    Raises:
        AtlasError: A table has the wrong shape, or rows that are not distributions.
    """

    n_classes: int
    csl: Tensor | None = None
    isl: Tensor | None = None

    def __post_init__(self) -> None:
        if self.n_classes < 1:
            raise AtlasError(f"{self.n_classes} classes", expected="at least one class to train on")
        if self.csl is not None:
            shape_fits = tuple(self.csl.shape) == (self.n_classes, self.n_classes)
            _check_distributions("class-wise soft labels", self.csl, shape_fits, self.n_classes, "[C, C]")
        if self.isl is not None:
            shape_fits = self.isl.ndim in (2, 3) and self.isl.shape[-1] == self.n_classes
            _check_distributions(
                "instance-wise soft labels", self.isl, shape_fits, self.n_classes, "[N, C] or [N, V, C]"
            )

    def to(self, place: device | str) -> FrozenTargets:
        """The same tables on another device."""
        csl = None if self.csl is None else self.csl.to(place)
        isl = None if self.isl is None else self.isl.to(place)
        return replace(self, csl=csl, isl=isl)


def _check_distributions(what: str, table: Tensor, shape_fits: bool, n_classes: int, expected: str) -> None:
    if not shape_fits:
        raise AtlasError(
            f"{what} of shape {list(table.shape)}",
            expected=f"{expected} with C = {n_classes}",
            fix="compute them for the classes that are trained on",
        )
    widest = float((table.float().sum(-1) - 1).abs().max()) if table.numel() else 0.0
    # Written so that NaN fails as well.
    if not (widest <= _SUM_TOLERANCE and float(table.min() if table.numel() else 0) >= 0):
        raise AtlasError(
            f"{what} with a row that is no distribution (a sum is off by {widest:.3g})",
            expected="non-negative rows that sum to 1",
            fix="store softmax outputs, not logits or features",
        )


class SourceOptions(BaseModel):
    """A label source's own constants; a source with some of them subclasses this as its `Options`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LabelSource:
    """What stands in for the one-hot cross-entropy. A new source is one subclass, registered in `SOURCES`.

    Subclasses implement `loss`, or subclass `TargetSource` and implement `target`. Class attributes declare
    what configuration they take:

    Attributes:
        needs: Inputs beyond the labels: "csl", "isl" (in FrozenTargets) and "teacher" (in the batch).
        default_mix: Default weight ε of the soft part; None for a source without one, which then refuses it.
        takes_temperature: Whether the temperature of the frozen model's soft labels matters.
        Options: Model of the source's own constants.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    default_mix: ClassVar[float | None] = None
    takes_temperature: ClassVar[bool] = False
    Options: ClassVar[type[SourceOptions]] = SourceOptions

    @classmethod
    def fewest_classes(cls, config: SupervisionConfig) -> int:
        """How many classes there must be to train on; a study with fewer is refused when it is planned."""
        return 1

    def __init__(self, config: SupervisionConfig, frozen: FrozenTargets) -> None:
        self.name = config.source
        self.mix = config.mix
        self.n_classes = frozen.n_classes

    def loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        """The loss of scaled logits [B, C], a scalar: the mean over the batch."""
        raise NotImplementedError

    def observe(self, logits: Tensor, batch: LabelBatch) -> None:
        """See the detached logits [B, C] of a step, as they were before its update. Stateless: nothing."""

    def end_epoch(self) -> None:
        """Turn what was observed into the next epoch's targets. Stateless: nothing."""

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs, mid-epoch included. Stateless: empty."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take up a `state()`.

        Raises:
            AtlasError: The state's names or shapes are another source's.
        """
        check_state(self.name, state, self.state())


class TargetSource(LabelSource):
    """A source that is a target alone: its loss is the soft cross-entropy with `target(batch)`."""

    def target(self, batch: LabelBatch) -> Tensor:
        """The target of each sample, [B, C]."""
        raise NotImplementedError

    def loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        return soft_cross_entropy(logits, self.target(batch))


def at_least_single(logits: Tensor) -> Tensor:
    """Logits in float32, or in float64 if they are: half precision is too coarse for a log-softmax."""
    return logits.float() if logits.dtype.itemsize < 4 else logits


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """mean_i −Σ_c target_ic · log softmax(logits_i)_c, a scalar, for logits and target [B, C].

    A target's row need not sum to 1 (OLS's first epoch has rows that sum to ½).
    """
    log_probabilities = at_least_single(logits).log_softmax(-1)
    return -(target.to(log_probabilities.dtype) * log_probabilities).sum(-1).mean()


def blend(labels: Tensor, distribution: Tensor, mix: float) -> Tensor:
    """(1 − mix)·e_y + mix·distribution, for labels [B] and distributions [B, C]."""
    hard = distribution.new_full((len(labels), 1), 1 - mix)
    return (mix * distribution).scatter_add(1, labels[:, None], hard)


def required_table(table: Tensor | None, source: str, what: str) -> Tensor:
    """The table, or an error that says which source misses which input."""
    if table is None:
        raise AtlasError(
            f"label source {source!r} has no {what}",
            expected="the soft labels of this data set, backbone and temperature",
            fix="run the soft_labels stage first and pass its tables in FrozenTargets",
        )
    return table


def required_mix(mix: float | None) -> float:
    """The ε of a source with a `default_mix`, which its configuration always holds."""
    return cast(float, mix)


def check_state(source: str, state: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raise unless a saved state has the names and shapes of the source's own."""
    saved = {name: list(each.shape) for name, each in state.items()}
    expected = {name: list(each.shape) for name, each in own.items()}
    if saved != expected:
        raise AtlasError(
            f"a checkpoint's state {saved} of label source {source!r}",
            expected=f"{expected}",
            fix="resume with the supervision and the classes that the checkpoint was written with",
        )


SOURCES: Registry[type[LabelSource]] = Registry("label source", "atlas.label_sources")
for _name, _target, _summary in (
    ("one_hot", "one_hot:OneHot", "the class alone: e_y"),
    ("ls", "smoothing:UniformSmoothing", "label smoothing: (1−ε)·e_y + ε/C, ε = 0.1"),
    ("tfkd", "tfkd:VirtualTeacher", "teacher-free distillation from a hand-made virtual teacher"),
    ("tfkd_self", "tfkd:SelfTeacher", "teacher-free distillation from the same method trained with one-hot"),
    ("ols", "ols:OnlineSmoothing", "online smoothing: mean prediction of each class's correct samples"),
    ("csl", "csl:ClassWise", "class-wise soft labels from the frozen text features"),
    ("isl", "isl:InstanceWise", "instance-wise soft labels: the frozen model's zero-shot prediction"),
):
    SOURCES.add_lazy(_name, f"atlas_core.labels.{_target}", _summary)

"""The ATLaS schedule: which epochs train with the soft source, and which with one-hot labels."""

from __future__ import annotations

import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.labels.base import SOURCES, FrozenTargets, LabelBatch, LabelSource
from atlas_core.labels.config import SupervisionConfig

_PREFIX = "source."


class Supervisor:
    """One run's supervision: a source in every K-th epoch, one-hot labels in the others.

    Epoch e (1-based) uses the source when e mod K = 0. K = 1 is the source alone; None (K = ∞) is one-hot.
    The source observes *every* epoch, also those that train with one-hot labels: so atlas(ols) at epoch K has
    the statistics of epoch K − 1, as OLS has in each epoch.

    Args:
        one_hot: Source of the other epochs.
        source: Source of every K-th epoch.
        period: K ≥ 1, or None.
    """

    def __init__(self, one_hot: LabelSource, source: LabelSource, period: int | None) -> None:
        if period is not None and period < 1:
            raise AtlasError(f"period {period}", expected="an integer of at least 1, or None")
        self.source = source
        self.period = period
        self._one_hot = one_hot
        self._epoch = 0

    @classmethod
    def from_config(cls, config: SupervisionConfig, frozen: FrozenTargets) -> Supervisor:
        """The supervisor of a configuration.

        Raises:
            AtlasError: A table that the source needs is missing.
        """
        one_hot = SOURCES.get("one_hot")(SupervisionConfig.model_validate("one_hot"), frozen)
        source = one_hot if config.source == "one_hot" else SOURCES.get(config.source)(config, frozen)
        return cls(one_hot, source, config.period)

    def source_of(self, epoch: int) -> LabelSource:
        """The source that epoch e (1-based) trains with."""
        if epoch < 1:
            raise ValueError(f"epochs count from 1, got {epoch}: call begin_epoch first")
        soft = self.period is not None and epoch % self.period == 0
        return self.source if soft else self._one_hot

    def target_name(self, epoch: int) -> str:
        """The name of that source: "one_hot", "csl", …"""
        return self.source_of(epoch).name

    def begin_epoch(self, epoch: int) -> None:
        """Start epoch e (1-based)."""
        self.source_of(epoch)
        self._epoch = epoch

    def loss(self, logits: Tensor, batch: LabelBatch) -> Tensor:
        """This epoch's loss of scaled logits [B, C]: a scalar, the mean over the batch."""
        return self.source_of(self._epoch).loss(logits, batch)

    def observe(self, logits: Tensor, batch: LabelBatch) -> None:
        """Show the source a step's logits [B, C] as they were before the update; call it once a step."""
        self.source.observe(logits.detach(), batch)

    def end_epoch(self) -> None:
        """Finish the epoch."""
        self.source.end_epoch()

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs, as tensors: the epoch and the source's state."""
        own = {_PREFIX + name: each for name, each in self.source.state().items()}
        return {"epoch": torch.tensor(self._epoch)} | own

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take up a `state()`.

        Raises:
            AtlasError: It is the state of another supervision or of other classes.
        """
        if "epoch" not in state:
            raise AtlasError(
                "a supervision's state without 'epoch'", expected="what Supervisor.state() returned"
            )
        rest = {name.removeprefix(_PREFIX): each for name, each in state.items() if name != "epoch"}
        self.source.load_state(rest)
        self._epoch = int(state["epoch"])

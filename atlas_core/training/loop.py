"""The training loop: every method, every supervision, one run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from atlas_core.backbone.precision import towers_in
from atlas_core.errors import AtlasError
from atlas_core.labels.base import LabelBatch
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import Batch, CrossEntropy, PromptMethod
from atlas_core.training.averaging import running_average
from atlas_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from atlas_core.training.data import TrainingData, epoch_batches
from atlas_core.training.optimiser import build_optimiser, set_learning_rate
from atlas_core.training.recipe import Recipe


@dataclass(frozen=True)
class EpochCurve:
    """What one epoch did: mean loss, its cross-entropy part, the target used, learning rate, accuracy in percent."""

    epoch: int
    loss: float
    cross_entropy: float
    target: str
    learning_rate: float
    train_accuracy: float


# A batch → the teacher's logits [B, C], for self-distillation.
Teacher = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Resumption:
    """Where a run's checkpoint lies and how many seconds may pass between two writes."""

    path: Path
    every_seconds: float = 30.0


def train(
    method: PromptMethod,
    data: TrainingData,
    supervisor: Supervisor,
    recipe: Recipe,
    *,
    seed: int,
    teacher: Teacher | None = None,
    resumption: Resumption | None = None,
    on_epoch: Callable[[EpochCurve], None] | None = None,
) -> list[EpochCurve]:
    """Train a method in place.

    One epoch after the other: set the learning rate, step through the batches with the epoch's target, let the
    label source observe the logits, average the parameters where the recipe says so. The same seed and machine
    give bit-identical parameters, with or without an interruption.

    Returns:
        One row an epoch.

    Raises:
        AtlasError: A loss is not finite, or what was learned is not.
    """
    if not method.learns or recipe.epochs == 0:
        return []
    optimiser = build_optimiser(method, recipe)
    learner = Learner(method, supervisor, optimiser, recipe, teacher)
    average = running_average(recipe)
    curves: list[EpochCurve] = []
    checkpoint = Checkpoint(method, optimiser, supervisor, average)
    if resumption is not None:
        curves = [EpochCurve(**row) for row in load_checkpoint(resumption.path, checkpoint)]
    timer = Timer(resumption)
    for epoch in range(len(curves) + 1, recipe.trained_epochs + 1):
        rate = set_learning_rate(optimiser, recipe, epoch - 1)
        batches = epoch_batches(
            data,
            epoch=epoch,
            epochs=recipe.trained_epochs,
            batch_size=recipe.batch_size,
            seed=seed,
            views_per_step=method.views_per_step,
        )
        supervisor.begin_epoch(epoch)
        steps = [learner.step(batch) for batch in batches]
        supervisor.end_epoch()
        if average is not None:
            average.add(epoch, method)
        curves.append(summarise(steps, epoch, supervisor.target_name(epoch), rate))
        if on_epoch is not None:
            on_epoch(curves[-1])
        if timer.due() and resumption is not None and epoch < recipe.trained_epochs:
            save_checkpoint(resumption.path, checkpoint, [asdict(row) for row in curves])
    if average is not None:
        average.load_into(method)
    _check_finite(method, recipe)
    return curves


def _check_finite(method: PromptMethod, recipe: Recipe) -> None:
    """The last step's update is in no loss any more."""
    if not all(bool(parameter.isfinite().all()) for parameter in method.parameters()):
        raise AtlasError(
            f"the learned parameters are not finite after epoch {recipe.trained_epochs}",
            expected="finite numbers",
            fix="lower the learning rate, or use precision fp32",
        )


@dataclass(frozen=True)
class StepFigures:
    """One step's figures: mean loss, its cross-entropy part, correct predictions, images."""

    loss: float
    cross_entropy: float
    correct: int
    images: int


@dataclass(frozen=True)
class StepLoss:
    """A step between its loss and its update."""

    batch: Batch
    labels: LabelBatch
    loss: Tensor
    logits: Tensor
    cross_entropy: float


# The loss and the logits of a batch, from the run's cross-entropy: a method's `loss`, or a part of a stack's.
LossFunction = Callable[[Batch, CrossEntropy], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Learner:
    """What the steps of one run need."""

    method: PromptMethod
    supervisor: Supervisor
    optimiser: torch.optim.Optimizer
    recipe: Recipe
    teacher: Teacher | None = None

    def step(self, batch: Batch) -> StepFigures:
        """A whole step."""
        pending = self.loss(batch, self.method.loss)
        self.method.backward(pending.loss)
        return self.update(pending)

    def loss(self, batch: Batch, compute: LossFunction) -> StepLoss:
        """The loss of a batch, gradients of the step before cleared.

        Raises:
            AtlasError: The loss is not finite.
        """
        labels = LabelBatch(
            labels=batch.labels,
            rows=batch.rows,
            views=batch.views,
            teacher_logits=self.teacher(batch) if self.teacher is not None else None,
        )
        parts: list[Tensor] = []

        def cross_entropy(logits: Tensor) -> Tensor:
            # A method that stacks several branches on one batch (DePT) has n·B rows for B labels.
            repeats = logits.shape[0] // len(batch.labels)
            part = self.supervisor.loss(logits.float(), labels if repeats == 1 else labels.repeat(repeats))
            parts.append(part.detach())
            return part

        self.optimiser.zero_grad(set_to_none=True)
        with towers_in(self.recipe.precision):
            loss, logits = compute(batch, cross_entropy)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AtlasError(
                f"the loss became {value} in epoch {batch.epoch}, step {batch.step}",
                expected="a finite loss",
                fix="lower the learning rate, or use precision fp32",
            )
        return StepLoss(batch, labels, loss, logits, float(parts[0]))

    def update(self, pending: StepLoss) -> StepFigures:
        """Update the parameters, whose gradients are there, and show the logits to the supervision."""
        self.optimiser.step()
        observed = pending.logits.detach().float()
        self.supervisor.observe(observed, pending.labels)
        correct = int((observed.argmax(dim=1) == pending.batch.labels).sum())
        images = len(pending.batch.labels)
        return StepFigures(float(pending.loss.detach()), pending.cross_entropy, correct, images)


def summarise(steps: list[StepFigures], epoch: int, target: str, rate: float) -> EpochCurve:
    """An epoch's row from its steps: means over images, summed exactly and so alike on every Python."""
    images = sum(step.images for step in steps)
    return EpochCurve(
        epoch=epoch,
        loss=math.fsum(step.loss * step.images for step in steps) / images,
        cross_entropy=math.fsum(step.cross_entropy * step.images for step in steps) / images,
        target=target,
        learning_rate=rate,
        train_accuracy=100.0 * sum(step.correct for step in steps) / images,
    )


class Timer:
    """Says when the next checkpoint is due."""

    def __init__(self, resumption: Resumption | None) -> None:
        self.every_seconds = resumption.every_seconds if resumption else math.inf
        self.last = time.monotonic()

    def due(self) -> bool:
        if time.monotonic() - self.last < self.every_seconds:
            return False
        self.last = time.monotonic()
        return True

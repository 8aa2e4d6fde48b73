"""Stacked training: runs that share a backbone, a method and its classes go through the text tower in one batch.

Only the text tower is shared. Every run keeps its own context, optimiser, batches, views, targets and loss; the
contexts are prefixes of one batch of prompts, and the losses are summed, so each run's gradient is its own. Results
equal training alone up to rounding (the matrix products have other sizes), not bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from atlas_core.backbone.precision import towers_in
from atlas_core.errors import AtlasError
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import Batch, CrossEntropy, PromptMethod
from atlas_core.methods.coop import CoOp
from atlas_core.training.averaging import running_average
from atlas_core.training.checkpoint import Checkpoint
from atlas_core.training.data import TrainingData, epoch_batches
from atlas_core.training.loop import (
    EpochCurve,
    Learner,
    LossFunction,
    Resumption,
    StepFigures,
    StepLoss,
    Teacher,
    Timer,
    summarise,
)
from atlas_core.training.optimiser import build_optimiser, set_learning_rate
from atlas_core.training.recipe import Recipe
from atlas_core.training.stack_checkpoint import load_stack, save_stack
from atlas_core.training.stacked_text import StackedText


@dataclass(frozen=True)
class Member:
    """One run of a stack: what `train` takes."""

    method: PromptMethod
    data: TrainingData
    supervisor: Supervisor
    seed: int
    teacher: Teacher | None = None


def can_stack(members: Sequence[Member]) -> bool:
    """Whether these runs can train in one batch.

    They can when each is a CoOp-like method whose context stands in front of the class names and is shared by them
    (CoOp, KgCoOp; not ProGrad, TCP or DePT, whose steps are other ones), over the same backbone, class names,
    context length and number of images.
    """
    methods = [member.method for member in members]
    if not members or not all(_encodes_one_context(method) for method in methods):
        return False
    first = _as_coop(methods[0])
    return (
        all(
            method.clip is first.clip
            and type(method) is type(first)
            and method.classes.names == first.classes.names
            and _as_coop(method).ctx.shape == first.ctx.shape
            and _as_coop(method).layout.suffixes == first.layout.suffixes
            for method in methods
        )
        and len({len(member.data.labels) for member in members}) == 1
    )


def train_stack(
    members: Sequence[Member],
    recipe: Recipe,
    *,
    resumption: Resumption | None = None,
    on_epoch: Callable[[int, EpochCurve], None] | None = None,
    on_trained: Callable[[int, Checkpoint, list[EpochCurve]], None] | None = None,
) -> list[list[EpochCurve] | AtlasError]:
    """Train the members' methods in place.

    Args:
        recipe: The same for all members.
        resumption: Where the whole stack's checkpoint lies; its last one is of the trained stack.
        on_epoch: Called with a member's number and its epoch's row.
        on_trained: Called with a member's number, its state after the last epoch (from which `train` would go on,
            with nothing left to do) and its rows.

    Returns:
        For each member its rows, one an epoch, or the error that ended its training; the others go on.

    Raises:
        AtlasError: The members cannot be stacked (see `can_stack`).
    """
    if not can_stack(members):
        raise AtlasError(
            "these runs cannot train as one stack",
            expected="runs of CoOp or KgCoOp with a shared context in front of the same class names",
            fix="train them one by one",
        )
    seats = [_Seat(number, member, recipe) for number, member in enumerate(members)]
    alive, done = _resumed(seats, resumption)
    if not alive:
        return [seat.result() for seat in seats]
    text, timer = StackedText([seat.method for seat in alive]), Timer(resumption)
    for epoch in range(done + 1, recipe.trained_epochs + 1):
        for seat in alive:
            seat.begin(epoch)
        for step in range(len(alive[0].batches)):
            _step(alive, text, step)
            if any(seat.error for seat in alive):
                alive = [seat for seat in alive if not seat.error]
                if not alive:
                    return [seat.result() for seat in seats]
                text = StackedText([seat.method for seat in alive])
        for seat in alive:
            row = seat.end(epoch)
            if on_epoch is not None:
                on_epoch(seat.number, row)
        if resumption is not None and (timer.due() or epoch == recipe.trained_epochs):
            states = {seat.number: (seat.checkpoint, [asdict(row) for row in seat.curves]) for seat in alive}
            save_stack(resumption.path, states, epoch)
    for seat in alive:
        if on_trained is not None:
            on_trained(seat.number, seat.checkpoint, seat.curves)
        seat.finish()
    return [seat.result() for seat in seats]


class _Seat:
    """One member while the stack trains."""

    def __init__(self, number: int, member: Member, recipe: Recipe) -> None:
        self.number, self.member, self.recipe = number, member, recipe
        self.method = _as_coop(member.method)
        optimiser = build_optimiser(self.method, recipe)
        self.learner = Learner(self.method, member.supervisor, optimiser, recipe, member.teacher)
        self.average = running_average(recipe)
        self.curves: list[EpochCurve] = []
        self.steps: list[StepFigures] = []
        self.batches: list[Batch] = []
        self.rate = 0.0
        self.error: AtlasError | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.method, self.learner.optimiser, self.member.supervisor, self.average)

    def begin(self, epoch: int) -> None:
        self.rate = set_learning_rate(self.learner.optimiser, self.recipe, epoch - 1)
        self.batches = list(
            epoch_batches(
                self.member.data,
                epoch=epoch,
                epochs=self.recipe.trained_epochs,
                batch_size=self.recipe.batch_size,
                seed=self.member.seed,
                views_per_step=self.method.views_per_step,
            )
        )
        self.steps = []
        self.member.supervisor.begin_epoch(epoch)

    def loss(self, step: int, compute: LossFunction) -> StepLoss | None:
        """The loss of a step; None, and the error kept, where it is not finite."""
        try:
            return self.learner.loss(self.batches[step], compute)
        except AtlasError as error:
            self.error = error
            return None

    def end(self, epoch: int) -> EpochCurve:
        self.member.supervisor.end_epoch()
        if self.average is not None:
            self.average.add(epoch, self.method)
        target = self.member.supervisor.target_name(epoch)
        self.curves.append(summarise(self.steps, epoch, target, self.rate))
        return self.curves[-1]

    def finish(self) -> None:
        if self.average is not None:
            self.average.load_into(self.method)

    def result(self) -> list[EpochCurve] | AtlasError:
        return self.error or self.curves


def _resumed(seats: list[_Seat], resumption: Resumption | None) -> tuple[list[_Seat], int]:
    """The seats that train, in the state of the stack's checkpoint if there is one, and the epochs behind them."""
    if resumption is None:
        return seats, 0
    curves, epoch = load_stack(resumption.path, {seat.number: seat.checkpoint for seat in seats})
    if not epoch:
        return seats, 0
    for seat in seats:
        seat.curves = [EpochCurve(**row) for row in curves.get(seat.number, ())]
        if seat.number not in curves:
            seat.error = AtlasError("its training had failed before the stack was interrupted")
    return [seat for seat in seats if not seat.error], epoch


def _step(seats: Sequence[_Seat], text: StackedText, step: int) -> None:
    """One step of every member; a member whose loss is not finite is left with its error, and not updated."""
    with towers_in(seats[0].recipe.precision):
        features = text.features()
    pending = [
        seat.loss(step, _loss_with(seat.method, own)) for seat, own in zip(seats, features, strict=True)
    ]
    together = [each.loss for each in pending if each is not None]
    if len(together) == len(seats):
        torch.stack(together).sum().backward()  # type: ignore[no-untyped-call]
        for seat, each in zip(seats, pending, strict=True):
            assert each is not None
            seat.steps.append(seat.learner.update(each))
        return
    # One member's NaN reaches the others through the attention of a shared tile (NaN times a weight of 0 is NaN), so
    # this step is taken one by one: only whose own loss is not finite fails.
    for seat in seats:
        seat.error = None
        alone = seat.loss(step, seat.method.loss)
        if alone is not None:
            seat.method.backward(alone.loss)
            seat.steps.append(seat.learner.update(alone))


def _loss_with(method: CoOp, text: Tensor) -> LossFunction:
    """The method's loss from class features [C, D] that are there already."""

    def loss(batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        image = method.images(batch)
        logits = method.cosine_logits(image, text)
        return cross_entropy(logits) + method.regulariser(image, text), logits

    return loss


def _encodes_one_context(method: PromptMethod) -> bool:
    """Whether the method's step is CoOp's: nothing that a stack would pass over is its own."""
    if not isinstance(method, CoOp):
        return False
    kind = type(method)
    return (
        method.shares_prefix
        and kind.loss is PromptMethod.loss
        and kind.backward is PromptMethod.backward
        and kind.encoder is CoOp.encoder
        and kind.text_features is CoOp.text_features
        and [name for name, _ in method.named_parameters()] == ["ctx"]
    )


def _as_coop(method: PromptMethod) -> CoOp:
    assert isinstance(method, CoOp)
    return method

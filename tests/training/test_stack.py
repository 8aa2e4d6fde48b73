"""Stacked runs: each learns what it learns alone, whatever the others' supervision, seed and fate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from atlas_core.errors import AtlasError
from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.coop import CoOp
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes, parse_options
from atlas_core.training.data import TrainingData
from atlas_core.training.loop import EpochCurve, train
from atlas_core.training.randomness import stream
from atlas_core.training.recipe import Recipe, WeightAverage
from atlas_core.training.stack import Member, can_stack, train_stack
from tests.small_clip import small_clip

NAMES = ("red fox", "blue jay", "red squirrel", "grey seal")
CLIP = small_clip(5)
RECIPE = Recipe(lr=0.05, batch_size=4, epochs=6, warmup_epochs=1)
SUPERVISIONS = ("one_hot", "ls", "ols", "atlas_csl", "atlas_isl", "atlas_ols")
Run = tuple[str, int]
MIXED: tuple[Run, ...] = tuple((each, 1 + index % 3) for index, each in enumerate(SUPERVISIONS))


def method_of(name: str, seed: int, names: tuple[str, ...] = NAMES, **options: object) -> PromptMethod:
    kind = METHODS.get(name)
    reference = torch.randn(len(names), CLIP.embed_dim, generator=torch.Generator().manual_seed(7))
    return kind(
        CLIP,
        Classes(names, {"coop": "a photo of a {}."}),
        parse_options(kind, {"n_ctx": 3, "ctx_init": "", **options}),
        generator=stream(seed, "initial context"),
        reference=reference,
    )


def data_of(seed: int, images: int = 10) -> TrainingData:
    """Noisy features around each class's centre; every seed has images of its own."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(NAMES), CLIP.embed_dim, generator=torch.Generator().manual_seed(8))
    labels = torch.randint(len(NAMES), (images,), generator=generator)
    return TrainingData(
        labels, centres[labels][:, None] + 0.5 * torch.randn(images, 3, CLIP.embed_dim, generator=generator)
    )


def supervisor_of(supervision: str, images: int = 10) -> Supervisor:
    generator = torch.Generator().manual_seed(9)
    csl = torch.rand(len(NAMES), len(NAMES), generator=generator).softmax(-1)
    isl = torch.rand(images, 3, len(NAMES), generator=generator).softmax(-1)
    config = SupervisionConfig.model_validate(supervision)
    return Supervisor.from_config(config, FrozenTargets(len(NAMES), csl=csl, isl=isl))


def member_of(run: Run, name: str = "coop") -> Member:
    supervision, seed = run
    return Member(method_of(name, seed), data_of(seed), supervisor_of(supervision), seed)


def alone(member: Member, recipe: Recipe = RECIPE) -> tuple[torch.Tensor, list[EpochCurve]]:
    curves = train(member.method, member.data, member.supervisor, recipe, seed=member.seed)
    return context(member), curves


def context(member: Member) -> torch.Tensor:
    assert isinstance(member.method, CoOp)
    return member.method.ctx.detach()


@pytest.mark.parametrize("name", ["coop", "kgcoop"])
def test_every_member_of_a_mixed_stack_learns_the_context_that_it_learns_alone(name: str) -> None:
    members = [member_of(run, name) for run in MIXED]
    results = train_stack(members, RECIPE)
    for run, member, curves in zip(MIXED, members, results, strict=True):
        expected, expected_curves = alone(member_of(run, name))
        torch.testing.assert_close(context(member), expected, rtol=0, atol=1e-6)
        assert isinstance(curves, list)
        assert [each.target for each in curves] == [each.target for each in expected_curves]
        assert [each.loss for each in curves] == pytest.approx(
            [each.loss for each in expected_curves], abs=1e-5
        )


def test_the_members_do_learn_and_learn_different_things() -> None:
    members = [member_of(run) for run in MIXED]
    first = [context(member).clone() for member in members]
    train_stack(members, RECIPE)
    assert all((context(m) - start).abs().max() > 1e-3 for m, start in zip(members, first, strict=True))
    ends = torch.stack([context(member) for member in members]).flatten(1)
    assert torch.pdist(ends).min() > 1e-4


@pytest.mark.parametrize("stop_after", [None, 3])
def test_averaged_weights_and_chunks_are_those_of_training_alone(stop_after: int | None) -> None:
    average = WeightAverage(mean=4, std=2)
    recipe = RECIPE.model_copy(update={"average": average, "stop_after": stop_after})
    members = [
        Member(method_of("coop", seed, text_chunk=3), data_of(seed), supervisor_of("ls"), seed)
        for seed in (1, 2)
    ]
    train_stack(members, recipe)
    for seed, member in zip((1, 2), members, strict=True):
        torch.testing.assert_close(
            context(member), alone(member_of(("ls", seed)), recipe)[0], rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("where", ["data", "context"])
def test_a_member_whose_loss_is_not_finite_leaves_the_others_alive(where: str) -> None:
    members = [member_of(run) for run in MIXED[:3]]
    with torch.no_grad():
        if where == "data":
            members[1].data.bank[2, 1] = float("nan")
        else:
            context(members[1])[0, 0] = float("nan")
    first, failed, last = train_stack(members, RECIPE)
    assert isinstance(failed, AtlasError)
    assert "loss became nan" in str(failed)
    for number, curves in ((0, first), (2, last)):
        assert isinstance(curves, list)
        assert len(curves) == RECIPE.epochs
        expected, _ = alone(member_of(MIXED[number]))
        torch.testing.assert_close(context(members[number]), expected, rtol=0, atol=1e-6)


def test_a_stack_whose_members_all_fail_ends() -> None:
    members = [member_of(run) for run in MIXED[:2]]
    for member in members:
        member.data.bank[:] = float("nan")
    assert all(isinstance(each, AtlasError) for each in train_stack(members, RECIPE))


def test_a_stack_of_one_is_a_training() -> None:
    member, other = member_of(MIXED[0]), member_of(MIXED[0])
    told: list[tuple[int, int]] = []
    train_stack([member], RECIPE, on_epoch=lambda number, row: told.append((number, row.epoch)))
    torch.testing.assert_close(context(member), alone(other)[0], rtol=0, atol=1e-6)
    assert told == [(0, epoch) for epoch in range(1, 7)]


def with_method(method: PromptMethod) -> Member:
    return Member(method, data_of(2), supervisor_of("ls"), 2)


def on_another_backbone() -> Member:
    method = method_of("coop", 2)
    method.clip = small_clip(6)
    return with_method(method)


UNFIT: dict[str, Callable[[], Member]] = {
    "another method": lambda: with_method(method_of("kgcoop", 2)),
    "other classes": lambda: with_method(method_of("coop", 2, (*NAMES[:3], "newt"))),
    "another length": lambda: with_method(method_of("coop", 2, n_ctx=5)),
    "class-specific": lambda: with_method(method_of("coop", 2, class_specific=True)),
    "position middle": lambda: with_method(method_of("coop", 2, position="middle")),
    "a step of its own": lambda: with_method(method_of("prograd", 2, n_ctx=4)),
    "other images": lambda: Member(method_of("coop", 2), data_of(2, 12), supervisor_of("ls", 12), 2),
    "another backbone": on_another_backbone,
}


@pytest.mark.parametrize("reason", list(UNFIT))
def test_runs_that_do_not_fit_together_are_not_stacked(reason: str) -> None:
    members = [member_of(MIXED[0]), UNFIT[reason]()]
    assert can_stack(members[:1])
    assert not can_stack(members)
    with pytest.raises(AtlasError, match="cannot train as one stack"):
        train_stack(members, RECIPE)

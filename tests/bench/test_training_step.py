"""What the benchmarks compare is the same computation: same loss, same gradients, on a small random CLIP."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from torch.nn import functional as F

from atlas_core.backbone.clip import FrozenClip
from atlas_core.bench import evaluation, stacked_runs, training_step
from atlas_core.bench.clocks import cpu_seconds, one_thread, peak_gigabytes
from atlas_core.bench.published_steps import PublishedCoCoOp, PublishedCoOp, PublishedTraining
from atlas_core.bench.training_step import build, random_clip, random_images
from atlas_core.methods.base import Batch, PromptMethod
from tests.small_clip import small_open_clip

NAMES = ("red fox", "blue jay", "green frog")


@pytest.fixture(scope="module")
def pair() -> tuple[Any, FrozenClip]:
    return random_clip(small_open_clip(3), open_clip.SimpleTokenizer())


def loss_of(
    method: PromptMethod, clip: FrozenClip, pixels: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    rows = torch.arange(len(labels))
    batch = Batch(labels, rows, rows * 0, clip.encode_image(pixels), None, None, epoch=1, step=0)
    return method.loss(batch, lambda logits: F.cross_entropy(logits, labels))[0]


def test_the_published_coop_step_and_ours_have_the_same_loss_and_gradient(
    pair: tuple[Any, FrozenClip],
) -> None:
    model, clip = pair
    method, _ = build(clip, "coop", NAMES)
    pixels, labels = random_images(clip, 4, len(NAMES))
    published = PublishedTraining(PublishedCoOp(model, NAMES, method.ctx.detach()), pixels, labels)
    loss = loss_of(method, clip, pixels, labels)
    method.backward(loss)
    assert published.step() == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(published.method.ctx.grad, method.ctx.grad, rtol=1e-4, atol=1e-5)


def test_the_published_cocoop_step_and_ours_have_the_same_loss_and_gradients(
    pair: tuple[Any, FrozenClip],
) -> None:
    model, clip = pair
    method, _ = build(clip, "cocoop", NAMES)
    pixels, labels = random_images(clip, 2, len(NAMES))
    layers = [(each.weight.detach(), each.bias.detach()) for each in (method.hidden, method.shift)]
    published = PublishedTraining(PublishedCoCoOp(model, NAMES, method.ctx.detach(), *layers), pixels, labels)
    loss = loss_of(method, clip, pixels, labels)
    method.backward(loss)
    assert published.step() == pytest.approx(loss.item(), rel=1e-5)
    theirs = published.method
    for name, ours in (("hidden_weight", method.hidden.weight), ("shift_bias", method.shift.bias)):
        torch.testing.assert_close(getattr(theirs, name).grad, ours.grad, rtol=1e-4, atol=1e-5)


def test_a_published_step_changes_the_context(pair: tuple[Any, FrozenClip]) -> None:
    model, clip = pair
    published = PublishedCoOp(model, NAMES, torch.zeros(2, 32))
    training = PublishedTraining(published, *random_images(clip, 4, len(NAMES)))
    first = training.step()
    assert published.ctx.abs().sum() > 0
    assert training.step() != first


def test_every_row_of_a_training_step_has_both_times(pair: tuple[Any, FrozenClip]) -> None:
    model, clip = pair
    found = [
        training_step.coop_row(model, clip, NAMES, goal=40, steps=2),
        training_step.cocoop_row(model, clip, NAMES, goal=5, steps=2),
        training_step.visual_row(clip, "maple", NAMES, goal=0.9, rounds=1),
        training_step.visual_row(clip, "promptsrc", NAMES, goal=0.9, rounds=1),
    ]
    for row in found:
        assert row["ours_seconds"] > 0  # type: ignore[operator]
        assert row["baseline_seconds"] > 0  # type: ignore[operator]


def test_stacked_runs_are_measured_beside_one_run_alone(pair: tuple[Any, FrozenClip]) -> None:
    found = list(stacked_runs.backbone_rows("small", pair[1], NAMES, (1, 3), repeats=1))
    assert [row["name"] for row in found] == [
        f"small, 3 classes: a step of {n} stacked runs, each" for n in (1, 3)
    ]
    assert all(row["baseline_seconds"] > 0 < row["ours_seconds"] for row in found)  # type: ignore[operator]


def test_evaluation_is_measured_through_the_stage_itself(
    pair: tuple[Any, FrozenClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "random_clip", lambda: pair)
    logits, stored = evaluation.rows(repeats=1, images=40, classes=7)
    assert "40 × 7 × 24" in str(logits["name"])
    assert stored["baseline_seconds"] == logits["baseline_seconds"]


def test_clocks_count_work_and_leave_the_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
        assert cpu_seconds(lambda: torch.randn(500, 500) @ torch.randn(500, 500)) > 0
    assert torch.get_num_threads() == threads


def test_peak_memory_sees_an_allocation_that_is_gone_again() -> None:
    idle = peak_gigabytes(lambda: None)
    if idle is None:
        pytest.skip("the kernel does not let a process set its high-water mark back")
    assert peak_gigabytes(lambda: torch.ones(50_000_000).sum()) > idle + 0.15  # type: ignore[operator]

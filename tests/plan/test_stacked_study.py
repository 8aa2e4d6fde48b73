"""Runs of a study train as stacks: the same results, whoever runs them and however often they are interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atlas_core.manifest import Manifest
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.session import run_study
from atlas_core.plan.stacks import stack_names
from atlas_core.stages import stacked_tune
from atlas_core.store import Store
from atlas_core.training import loop, stack
from tests.tiny_study import RecordingObserver, TinyWorld, make_world

SEEDS = [1, 2]


def run(world: TinyWorld, **placement: object) -> RecordingObserver:
    observer = RecordingObserver()
    where = world.placement.model_copy(update={"stack": "auto", **placement})
    run_study(world.study(seeds=SEEDS), where, observer=observer)
    return observer


def runs(world: TinyWorld) -> dict[str, Manifest]:
    return {manifest.name: manifest for manifest in Store(world.placement.store_path).manifests("tune")}


def digests(world: TinyWorld) -> dict[str, str]:
    return {name: manifest.digest for name, manifest in runs(world).items()}


def contexts(world: TinyWorld) -> dict[str, torch.Tensor]:
    store = Store(world.placement.store_path)
    return {
        name: load_file(store.path("tune", manifest.key) / "prompts.safetensors")["ctx"]
        for name, manifest in runs(world).items()
    }


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("stacked"))
    run(world)
    return world


def test_runs_that_differ_in_seed_and_supervision_train_together(stacked: TinyWorld) -> None:
    together = {name: manifest.trained_with for name, manifest in runs(stacked).items()}
    # one_hot, ls and ols wait for nothing but features; the soft labels of csl and isl come a stage later.
    assert {together[name] for name in together if "csl" in name or "isl" in name} == {3}
    assert {together[name] for name in together if "csl" not in name and "isl" not in name} == {5}


def test_every_context_is_the_one_that_its_run_learns_alone(stacked: TinyWorld, tmp_path: Path) -> None:
    alone = make_world(tmp_path)
    run(alone, stack=1)
    assert {manifest.trained_with for manifest in runs(alone).values()} == {0}
    expected, found = contexts(alone), contexts(stacked)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=0)


def test_worker_processes_make_the_same_bits(stacked: TinyWorld, tmp_path: Path) -> None:
    others = make_world(tmp_path)
    run(others, workers=2)
    assert digests(others) == digests(stacked)


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_interrupted_stack_goes_on_to_the_same_bits(
    stacked: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    world = make_world(tmp_path)
    written = 0
    save = stack.save_stack

    def interrupted(*arguments: object) -> None:
        nonlocal written
        save(*arguments)  # type: ignore[arg-type]
        written += 1
        if written == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Timer, "due", lambda self: True)
    monkeypatch.setattr(stack, "save_stack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(world)
    first_epochs: list[int] = []
    restored = stack.load_stack

    def seen(*arguments: object) -> object:
        answer = restored(*arguments)  # type: ignore[arg-type]
        first_epochs.append(answer[1])
        return answer

    monkeypatch.setattr(stack, "load_stack", seen)
    run(world)
    assert max(first_epochs) == epochs
    assert digests(world) == digests(stacked)


def test_a_kill_between_two_members_checkpoints_changes_no_bit(
    stacked: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path)
    left = 0
    leave = stacked_tune._leave

    def killed(*arguments: object) -> object:
        nonlocal left
        left += 1
        if left == 3:
            raise KeyboardInterrupt
        return leave(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stacked_tune, "_leave", killed)
    with pytest.raises(KeyboardInterrupt):
        run(world)
    monkeypatch.setattr(stacked_tune, "_leave", leave)
    run(world)
    assert digests(world) == digests(stacked)


def test_a_run_that_fails_leaves_the_others_of_its_stack_alive(
    stacked: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path)
    loss = loop.Learner.loss

    def diverging(self: loop.Learner, batch: object, compute: loop.LossFunction) -> loop.StepLoss:
        if self.supervisor.target_name(1) == "ls":
            with torch.no_grad():
                self.method.ctx.fill_(float("nan"))  # type: ignore[operator, union-attr]
        return loss(self, batch, compute)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Learner, "loss", diverging)
    with pytest.raises(Exception, match="loss became nan"):
        run(world)
    kept = contexts(world)
    assert kept.keys() == {name for name in digests(stacked) if "/ls/" not in name}
    whole = contexts(stacked)
    for name in kept:
        torch.testing.assert_close(kept[name], whole[name], atol=1e-6, rtol=0)


def test_a_small_memory_budget_makes_small_stacks(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    run(world, stack_gigabytes=1e-6)
    assert {manifest.trained_with for manifest in runs(world).values()} == {0}


def test_a_stack_that_does_not_fit_the_device_is_trained_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(stacked_tune, "train_stack", full)
    run(world)
    assert {manifest.trained_with for manifest in runs(world).values()} == {0}


def test_a_finished_stack_leaves_no_checkpoint_behind(stacked: TinyWorld) -> None:
    work = Store(stacked.placement.store_path).root / ".work"
    assert not [path for path in work.rglob("*") if path.suffix == ".safetensors"]


def test_a_restart_forms_the_stacks_that_were_not_started_as_before(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    placement = Placement(home=world.home, workers=0, stack="auto")

    def tune_stacks() -> dict[str, str]:
        return stack_names(build_graph(world.study(seeds=SEEDS), placement).nodes)

    run_study(world.study(seeds=SEEDS, supervisions=["one_hot", "ls"]), placement)
    partly = tune_stacks()
    run(world)
    assert {name: tune_stacks()[name] for name in partly} == partly

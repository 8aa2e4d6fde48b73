"""Training in half precision: every method's gradient, its checkpoints, stacks and averages; and whole studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from atlas_core.plan.execution import run_study
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from atlas_core.backbone import hardware
from atlas_core.backbone.config import Precision
from atlas_core.backbone.precision import DTYPES
from atlas_core.errors import AtlasError
from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.registry import METHODS
from atlas_core.store import Store
from atlas_core.training.loop import EpochCurve, Learner, Resumption, train
from atlas_core.training.optimiser import build_optimiser
from atlas_core.training.recipe import Recipe, WeightAverage
from atlas_core.training.stack import train_stack
from tests.methods.test_visual_training import N, make_data
from tests.methods.visual_case import NAMES, Case, make_case
from tests.tiny_study import RecordingObserver, make_world
from tests.training.test_stack import MIXED, RECIPE, alone, context, member_of

LEARNED = [name for name in METHODS.names() if METHODS.get(name).learns]
HALVES: tuple[Precision, ...] = ("bf16", "fp16")
# A hidden layer of one unit, which CoCoOp's has on so narrow a CLIP, may be off and have no gradient at all.
OPTIONS = {name: {"reduction": 4} for name in LEARNED if "cocoop" in name}


def case_of(name: str, backbone: Precision = "fp32") -> Case:
    return make_case(name, OPTIONS.get(name), dtype=DTYPES[backbone])


def supervisor_of(supervision: str = "one_hot") -> Supervisor:
    spread = torch.rand(N, 2, len(NAMES), generator=torch.Generator().manual_seed(5)).softmax(-1)
    config = SupervisionConfig.model_validate(supervision)
    return Supervisor.from_config(config, FrozenTargets(len(NAMES), isl=spread))


def step(case: Case, precision: Precision) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The gradients of one training step, its loss and its logits."""
    recipe = Recipe(precision=precision)
    learner = Learner(case.method, supervisor_of(), build_optimiser(case.method, recipe), recipe)
    learner.supervisor.begin_epoch(1)
    pending = learner.loss(case.batch, case.method.loss)
    case.method.backward(pending.loss)
    return case.gradients(), pending.loss.detach(), pending.logits.detach()


def cosine(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0))


@pytest.mark.parametrize("backbone", ["fp32", "half"])
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", LEARNED)
def test_the_gradient_points_where_float32s_does(name: str, precision: Precision, backbone: str) -> None:
    """Cosine of at least 0.98 in every parameter (found: 0.995 in bf16), whichever of the two is half precision."""
    wanted, wanted_loss, _ = step(case_of(name), "fp32")
    half: Precision = precision if backbone == "half" else "fp32"
    found, loss, logits = step(case_of(name, half), "fp32" if backbone == "half" else precision)
    assert loss.dtype == logits.dtype == torch.float32
    assert float(loss) == pytest.approx(float(wanted_loss), rel=0.02)
    assert found.keys() == wanted.keys()
    # DePT's modulation of image features reads nothing that a text tower computed.
    assert not all(torch.equal(found[parameter], wanted[parameter]) for parameter in wanted)
    for parameter, gradient in wanted.items():
        assert found[parameter].dtype == torch.float32
        assert cosine(found[parameter], gradient) >= 0.98, parameter
        size = float(found[parameter].norm() / gradient.norm())
        assert size == pytest.approx(1, abs=0.1), parameter


def trained(
    name: str, precision: Precision, checkpoint: Path | None = None, stop_at: int | None = None
) -> tuple[PromptMethod, list[EpochCurve]]:
    """Eight epochs with Gaussian averaging; with `stop_at` interrupted while that epoch is reported."""
    method = case_of(name).method
    recipe = Recipe(
        lr=0.02,
        batch_size=4,
        epochs=8,
        warmup_epochs=0,
        average=WeightAverage(mean=6, std=2),
        precision=precision,
    )

    def report(curve: EpochCurve) -> None:
        if curve.epoch == stop_at:
            raise KeyboardInterrupt

    resumption = None if checkpoint is None else Resumption(checkpoint, every_seconds=0)
    supervisor = supervisor_of("atlas_ols")
    curves = train(method, make_data(), supervisor, recipe, seed=1, resumption=resumption, on_epoch=report)
    return method.eval(), curves


@pytest.mark.parametrize(
    ("name", "precision"), [*((each, "bf16") for each in LEARNED), ("coop", "fp16"), ("promptsrc", "fp16")]
)
def test_an_interrupted_training_goes_on_to_the_same_float32_parameters(
    name: str, precision: Precision, tmp_path: Path
) -> None:
    method, curves = trained(name, precision)
    assert curves[-1].loss < curves[0].loss
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        trained(name, precision, path, stop_at=4)
    types = {key: tensor.dtype for key, tensor in load_file(path).items()}
    assert {each for each in types.values() if each.is_floating_point} <= {torch.float32, torch.float64}
    resumed, resumed_curves = trained(name, precision, path)
    assert resumed_curves == curves
    state, again = method.learned_state(), resumed.learned_state()
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert {each.dtype for each in state.values()} == {torch.float32}
    plain = trained(name, "fp32")[0].learned_state()
    assert not all(torch.equal(state[key], plain[key]) for key in state)


@pytest.mark.parametrize("name", ["coop", "promptsrc"])
def test_training_in_float16_stays_near_float32s(name: str) -> None:
    (_, half), (_, full) = trained(name, "fp16"), trained(name, "fp32")
    assert [each.loss for each in half] == pytest.approx([each.loss for each in full], rel=0.01)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", ["coop", "kgcoop"])
def test_a_stack_in_half_precision_learns_what_its_members_learn_alone(
    name: str, precision: Precision
) -> None:
    """To the rounding of products of other sizes, which is half precision's here."""
    recipe = RECIPE.model_copy(update={"precision": precision, "average": WeightAverage(mean=4, std=2)})
    members = [member_of(run, name) for run in MIXED]
    train_stack(members, recipe)
    for run, member in zip(MIXED, members, strict=True):
        start = context(member_of(run, name))
        expected, _ = alone(member_of(run, name), recipe)
        plain, _ = alone(member_of(run, name), recipe.model_copy(update={"precision": "fp32"}))
        learned = float((expected - start).norm())
        assert float((context(member) - expected).norm()) < 0.05 * learned
        assert context(member).dtype == torch.float32
        assert not torch.equal(context(member), plain)


@pytest.mark.parametrize("precision", HALVES)
def test_an_interrupted_stack_in_half_precision_goes_on_to_the_same_bits(
    precision: Precision, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"precision": precision, "average": WeightAverage(mean=4, std=2)})
    undisturbed, members = ([member_of(run) for run in MIXED] for _ in range(2))
    train_stack(undisturbed, recipe)
    resumption = Resumption(tmp_path / "stack.safetensors", every_seconds=0)

    def interrupt(number: int, curve: EpochCurve) -> None:
        if (number, curve.epoch) == (2, 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_stack(members, recipe, resumption=resumption, on_epoch=interrupt)
    assert all(each.dtype != DTYPES[precision] for each in load_file(resumption.path).values())
    resumed = [member_of(run) for run in MIXED]
    epochs: list[int] = []
    train_stack(
        resumed, recipe, resumption=resumption, on_epoch=lambda number, curve: epochs.append(curve.epoch)
    )
    assert min(epochs) == 4
    for member, other in zip(resumed, undisturbed, strict=True):
        assert torch.equal(context(member), context(other))


@pytest.mark.parametrize("precision", ["fp32", *HALVES])
def test_a_last_step_that_leaves_no_finite_numbers_is_an_error(precision: Precision) -> None:
    member = member_of(("one_hot", 1))
    recipe = Recipe(lr=1e38, batch_size=10, epochs=1, warmup_epochs=0, weight_decay=1e30, precision=precision)
    with pytest.raises(AtlasError, match=r"not finite after epoch 1.*lower the learning rate"):
        train(member.method, member.data, member.supervisor, recipe, seed=1)


@pytest.mark.parametrize(
    ("backbone", "training", "stack"),
    [("fp32", "bf16", "auto"), ("fp32", "fp16", 1), ("bf16", "fp32", 1), ("fp16", "fp16", "auto")],
)
def test_a_whole_study_of_every_method_runs_and_saves_float32(
    backbone: Precision, training: Precision, stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_cpu_flags", lambda: frozenset({"avx512_bf16", "avx512_fp16"}))
    world = make_world(tmp_path)
    raw = world.raw_study()
    overrides: dict[str, Any] = {
        "datasets": raw["datasets"][:1],
        "methods": [*LEARNED, "zero_shot"],
        "supervisions": ["one_hot", {"name": "atlas_isl", "period": 2}],
        "backbone": {**raw["backbone"], "precision": backbone},
        "training": {"epochs": 2, "batch_size": 4, "lr": 0.001, "precision": training},
    }
    observer = RecordingObserver()
    placement = world.placement.model_copy(update={"stack": stack})
    run_study(world.study(**overrides), placement, observer=observer)
    assert not observer.failed
    store = Store(world.placement.store_path)
    runs = list(store.manifests("tune"))
    assert len(runs) == 2 * len(LEARNED) + 1
    for run in runs:
        tensors = load_file(store.path("tune", run.key) / "prompts.safetensors")
        assert all(each.dtype == torch.float32 and bool(each.isfinite().all()) for each in tensors.values())
    again = RecordingObserver()
    run_study(world.study(**overrides), placement, observer=again)
    assert not again.made


def test_each_precision_is_a_training_of_its_own(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    for precision in ("fp32", *HALVES):
        recipe = {"epochs": 2, "batch_size": 4, "precision": precision}
        made = world.run(
            datasets=world.raw_study()["datasets"][:1], supervisions=["ls"], training=recipe
        ).made
        assert [name for name in made if name.startswith("tune/")] == ["tune/ponds/base/2-shot/coop/ls/seed1"]


def test_two_different_half_precisions_are_refused_when_the_study_is_planned(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    backbone = {**world.raw_study()["backbone"], "precision": "bf16"}
    recipe = {"epochs": 2, "batch_size": 4}
    with pytest.raises(AtlasError, match=r"training\.precision: fp16` over `backbone\.precision: bf16"):
        world.run(backbone=backbone, training={**recipe, "precision": "fp16"})
    assert not list(Store(world.placement.store_path).manifests("tune"))
    for advised in ("fp32", "bf16"):
        world.study(backbone=backbone, training={**recipe, "precision": advised})

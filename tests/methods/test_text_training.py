"""Text-side methods in the training loop: they learn, and a checkpoint predicts the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes
from atlas_core.training.checkpoint import read_tensors, write_tensors
from atlas_core.training.data import TrainingData
from atlas_core.training.loop import train
from atlas_core.training.recipe import method_defaults, resolve_recipe
from tests.methods.text_case import build
from tests.methods.visual_case import NAMES, NEW_NAMES, clip_of_state

TEXT_METHODS = ("coop", "cocoop", "kgcoop", "prograd", "tcp", "dept_coop", "dept_cocoop", "dept_kgcoop")
N, VIEWS = 16, 2


def make_data() -> TrainingData:
    """Noisy features, two views each, whose classes have directions of their own; no pixels."""
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(N) % len(NAMES)
    width = clip_of_state().embed_dim
    centres = torch.randn(len(NAMES), width, generator=generator)
    noise = torch.randn(N, VIEWS, width, generator=generator)
    return TrainingData(labels, centres[labels][:, None] + 0.2 * noise)


def trained(name: str, supervision: str) -> tuple[PromptMethod, list[float]]:
    method = build(name, {"reduction": 4} if "cocoop" in name else {})
    data, noise = make_data(), torch.Generator().manual_seed(5)
    spread = torch.rand(N, VIEWS, len(NAMES), generator=noise).softmax(-1)
    soft = 0.7 * torch.eye(len(NAMES))[data.labels][:, None] + 0.3 * spread
    supervisor = Supervisor.from_config(
        SupervisionConfig.model_validate(supervision), FrozenTargets(len(NAMES), isl=soft)
    )
    recipe, _ = resolve_recipe(
        method_defaults(METHODS.get(name).defaults_file),
        protocol="base_to_new",
        dataset="any",
        shots=4,
        training={"lr": 0.02, "batch_size": 4, "epochs": 6, "warmup_epochs": 0},
        options={},
    )
    curves = train(method, data, supervisor, recipe, seed=1)
    return method.eval(), [curve.loss for curve in curves]


@pytest.mark.parametrize("supervision", ["one_hot", "isl"])
@pytest.mark.parametrize("name", TEXT_METHODS)
def test_the_loss_falls_and_a_reloaded_checkpoint_predicts_identically(
    name: str, supervision: str, tmp_path: Path
) -> None:
    method, losses = trained(name, supervision)
    assert losses[-1] < losses[0]
    write_tensors(tmp_path / "prompts.safetensors", method.learned_state(), {})
    state, _ = read_tensors(tmp_path / "prompts.safetensors")
    other = build(name, {"reduction": 4} if "cocoop" in name else {}, seed=9).eval()
    other.load_learned_state(state, Classes(NAMES, {}))
    features = make_data().bank[:, 0]
    assert torch.equal(method.predictor()(features), other.predictor()(features))


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_the_trained_method_serves_new_classes(name: str) -> None:
    method, _ = trained(name, "one_hot")
    options = {"reduction": 4} if "cocoop" in name else {}
    new = build(name, options, names=NEW_NAMES, trained=False, seed=9).eval()
    new.load_learned_state(method.learned_state(), Classes(NAMES, {}))
    logits = new.predictor()(make_data().bank[:, 0])
    assert logits.shape == (N, len(NEW_NAMES))
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("name", ["prograd", "dept_kgcoop"])
def test_the_same_seed_gives_the_same_parameters(name: str) -> None:
    first, again = (trained(name, "atlas_ols")[0].learned_state() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)

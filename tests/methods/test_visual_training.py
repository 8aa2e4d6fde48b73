"""Methods with visual prompts in the training loop: they learn, and a checkpoint predicts the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.traits.base import Classes
from atlas_core.training.averaging import gaussian_weights
from atlas_core.training.checkpoint import read_tensors, write_tensors
from atlas_core.training.data import TrainingData
from atlas_core.training.loop import train
from atlas_core.training.recipe import Recipe, WeightAverage
from tests.methods.visual_case import NAMES, clip_of_state, make_case

METHODS = ("maple", "promptsrc", "coprompt", "ivlp", "vpt", "dept_maple")
N, VIEWS = 8, 2


def make_data() -> TrainingData:
    """Images whose class is the place of a bright square; two noisy views each, with their frozen features."""
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(N) % len(NAMES)
    views = 0.2 * torch.randn((N, VIEWS, 3, 32, 32), generator=generator)
    for row, label in enumerate(labels.tolist()):
        top, left = 16 * (label // 2), 16 * (label % 2)
        views[row, :, :, top : top + 16, left : left + 16] += 2.0
    clip = clip_of_state()
    bank = torch.stack([clip.encode_image(views[:, view]) for view in range(VIEWS)], dim=1)
    return TrainingData(labels, bank, lambda rows, chosen: views[rows, chosen])


def trained(name: str) -> tuple[PromptMethod, list[float]]:
    method = make_case(name).method
    supervisor = Supervisor.from_config(
        SupervisionConfig.model_validate("one_hot"), FrozenTargets(len(NAMES))
    )
    recipe = Recipe(lr=0.1, batch_size=4, epochs=8, warmup_epochs=0)
    curves = train(method, make_data(), supervisor, recipe, seed=1)
    return method.eval(), [curve.loss for curve in curves]


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls_and_a_reloaded_checkpoint_predicts_identically(name: str, tmp_path: Path) -> None:
    method, losses = trained(name)
    assert sum(losses[-3:]) / 3 < 0.95 * losses[0]
    write_tensors(tmp_path / "prompts.safetensors", method.learned_state(), {})
    state, _ = read_tensors(tmp_path / "prompts.safetensors")
    other = make_case(name).method.eval()
    other.load_learned_state(state, Classes(NAMES, {}))
    pixels = torch.randn((5, 3, 32, 32), generator=torch.Generator().manual_seed(6))
    assert torch.equal(method.predictor()(pixels), other.predictor()(pixels))


def test_averaging_weights_exist_for_epochs_far_from_their_mean() -> None:
    weights = gaussian_weights(WeightAverage(mean=200, std=1), 5)
    assert sum(weights) == pytest.approx(1)
    assert weights[4] == max(weights)

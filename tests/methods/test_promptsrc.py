"""PromptSRC against the formulas written out slowly."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from atlas_core.methods.promptsrc import PromptSRC
from atlas_core.methods.traits.imagenet_templates import SIXTY_TEMPLATES
from atlas_core.methods.traits.promptsrc import PromptSRCOptions
from atlas_core.training.averaging import GaussianAverage, gaussian_weights
from atlas_core.training.recipe import method_defaults, resolve_recipe
from tests.methods.plain_clip import cross_entropy, unit
from tests.methods.visual_case import (
    NAMES,
    NEW_NAMES,
    Case,
    assert_near,
    assert_same_gradients,
    make_case,
    prompt_ids,
)

DEEP = {"depth_text": 3, "depth_vision": 2, "n_ctx_vision": 3}


def slow_features(
    case: Case, leaves: dict[str, Tensor], names: tuple[str, ...] = NAMES
) -> tuple[Tensor, Tensor]:
    text, visual = leaves["text_prompts"], leaves["visual_prompts"]
    assert case.batch.pixels is not None
    g = case.plain.text(prompt_ids("a photo of a", names), text[0], list(text[1:]))
    f = case.plain.image(case.batch.pixels, visual[0], list(visual[1:]))
    return unit(f), unit(g)


def slow_frozen(case: Case) -> tuple[Tensor, Tensor]:
    """f⁰ and g⁰: the mean over templates is taken before anything is normalised."""
    assert case.batch.pixels is not None
    return unit(case.plain.image(case.batch.pixels)), slow_template_mean()


@cache
def slow_template_mean() -> Tensor:
    case = make_case("vpt")
    total = torch.zeros(len(NAMES), case.method.clip.embed_dim)
    for template in SIXTY_TEMPLATES:
        ids = case.method.clip.tokenize([template.replace("{}", name) for name in NAMES])
        total = total + case.plain.text(ids)
    return unit(total / 60)


def slow_loss(case: Case, leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    (f, g), (f0, g0) = slow_features(case, leaves), slow_frozen(case)
    z, z0 = case.plain.scale * f @ g.T, case.plain.scale * f0 @ g0.T
    text = sum(abs(a - b) for a, b in zip(g.flatten(), g0.flatten(), strict=True)) / g.numel()
    image = sum(abs(a - b) for a, b in zip(f.flatten(), f0.flatten(), strict=True)) / f.numel()
    p, p0 = z.exp() / z.exp().sum(1, keepdim=True), z0.exp() / z0.exp().sum(1, keepdim=True)
    divergence = (p0 * (p0 / p).log()).sum() / z.numel()
    return cross_entropy(z, case.batch.labels) + 25 * text + 10 * image + divergence, z


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"depth_text": 1, "depth_vision": 1}, id="shallow"),
        pytest.param(DEEP, id="deep"),
        pytest.param({}, id="deeper than both towers"),
        pytest.param({**DEEP, "text_chunk": 3, "gradient_checkpointing": True}, id="recomputed"),
        pytest.param({**DEEP, "frozen_features": "computed"}, id="frozen pass"),
    ],
)
def test_loss_logits_and_gradients_are_those_of_the_formula(options: dict[str, object]) -> None:
    case = make_case("promptsrc", options)
    loss, logits = case.run()
    leaves = case.leaves()
    expected_loss, expected = slow_loss(case, leaves)
    assert_near(logits, expected, "logits")
    assert_near(loss, expected_loss, "loss")
    assert_same_gradients(case, leaves, expected_loss)


def test_each_constraint_has_its_weight() -> None:
    def loss_at(**weights: float) -> float:
        return float(make_case("promptsrc", {**DEEP, **weights}).run()[0])

    none = loss_at(text_weight=0, image_weight=0, logit_weight=0)
    parts = [
        loss_at(text_weight=25, image_weight=0, logit_weight=0) - none,
        loss_at(text_weight=0, image_weight=10, logit_weight=0) - none,
        loss_at(text_weight=0, image_weight=0, logit_weight=1) - none,
    ]
    assert all(part > 0 for part in parts)
    assert loss_at() == pytest.approx(none + sum(parts), rel=1e-5)


def test_the_supervision_replaces_the_cross_entropy_alone() -> None:
    case = make_case("promptsrc", DEEP)
    plain, _ = case.run()
    shifted, logits = case.method.loss(case.batch, lambda z: z.sum() * 0 + 3.0)
    cross_entropy_part = float(cross_entropy(logits.detach(), case.batch.labels))
    assert float(shifted.detach()) == pytest.approx(float(plain) - cross_entropy_part + 3.0, rel=1e-5)


def test_a_checkpoint_predicts_the_new_classes_without_a_reference() -> None:
    base = make_case("promptsrc", DEEP)
    new = make_case("promptsrc", DEEP, names=NEW_NAMES, trained=False)
    new.method.reference = None
    new.method.load_learned_state(base.method.learned_state())
    assert base.batch.pixels is not None
    f, g = slow_features(base, base.leaves(), NEW_NAMES)
    assert_near(new.method.predictor()(base.batch.pixels), base.plain.scale * f @ g.T)


def test_learned_parameters_are_averaged_with_gaussian_weights_over_epochs() -> None:
    defaults = method_defaults(PromptSRC.defaults_file)
    facts = {"protocol": "base_to_new", "dataset": "dtd", "shots": 16}
    recipe, _ = resolve_recipe(defaults, **facts, training={}, options={})  # type: ignore[arg-type]
    assert recipe.average is not None
    weights = gaussian_weights(recipe.average, recipe.epochs)
    assert max(range(20), key=weights.__getitem__) + 1 == 15
    assert weights[14] / weights[15] == pytest.approx(torch.tensor(0.5).exp())
    method = make_case("promptsrc", DEEP).method
    average = GaussianAverage(recipe.average, recipe.epochs)
    start = method.learned_state()
    for epoch in range(1, recipe.epochs + 1):
        with torch.no_grad():
            for name, parameter in method.named_parameters():
                parameter.copy_(start[name] * epoch)
        average.add(epoch, method)
    average.load_into(method)
    mean_epoch = sum(weight * (index + 1) for index, weight in enumerate(weights))
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(parameter.detach(), start[name] * mean_epoch)


def test_the_yaml_has_the_published_constants() -> None:
    defaults = method_defaults(PromptSRC.defaults_file)

    def resolved(protocol: str, dataset: str = "caltech101") -> tuple[int, float, float, int]:
        recipe, raw = resolve_recipe(
            defaults, protocol=protocol, dataset=dataset, shots=16, training={}, options={}
        )
        options = PromptSRCOptions(**raw)
        assert (recipe.lr, recipe.batch_size) == (0.0025, 4)
        assert (options.text_weight, options.image_weight) == (25, 10)
        assert recipe.average is not None
        assert options.depth_text == options.depth_vision
        return recipe.epochs, recipe.average.mean, recipe.average.std, options.depth_text

    assert resolved("base_to_new") == (20, 15, 1, 9)
    assert resolved("cross_dataset", "imagenet") == (20, 6, 10, 3)
    assert resolved("few_shot") == (50, 30, 30, 9)
    assert resolved("few_shot", "dtd") == (50, 45, 5, 9)

"""MaPLe against the formulas written out slowly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import parse_options
from atlas_core.training.recipe import method_defaults, resolve_recipe
from tests.methods.plain_clip import PlainClip, cross_entropy
from tests.methods.visual_case import (
    NAMES,
    NEW_NAMES,
    Case,
    assert_near,
    assert_same_gradients,
    make_case,
    prompt_ids,
)


def slow_logits(
    plain: PlainClip, leaves: dict[str, Tensor], pixels: Tensor, names: tuple[str, ...], prefix: str
) -> Tensor:
    text, weight, bias = leaves["text_prompts"], leaves["coupling_weight"], leaves["coupling_bias"]
    visual = [text[j] @ weight[j].T + bias[j] for j in range(len(text))]
    g = plain.text(prompt_ids(prefix, names), text[0], list(text[1:]))
    f = plain.image(pixels, visual[0], visual[1:])
    return plain.logits(f, g)


def slow(
    case: Case, names: tuple[str, ...] = NAMES, prefix: str = "a photo of a"
) -> tuple[dict[str, Tensor], Tensor]:
    leaves = case.leaves()
    assert case.batch.pixels is not None
    return leaves, slow_logits(case.plain, leaves, case.batch.pixels, names, prefix)


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        pytest.param({"depth": 1}, (4, 3), id="shallow"),
        pytest.param({"depth": 3}, (4, 3), id="deep"),
        pytest.param({"depth": 9}, (4, 3), id="deeper than the image tower"),
        pytest.param({"depth": 9}, (2, 3), id="deeper than the text tower"),
        pytest.param({"depth": 2, "n_ctx": 4}, (4, 3), id="every initial word learned"),
        pytest.param({"depth": 2, "text_chunk": 2, "gradient_checkpointing": True}, (4, 3), id="recomputed"),
    ],
)
def test_loss_logits_and_gradients_are_those_of_the_formula(
    options: dict[str, object], layers: tuple[int, int]
) -> None:
    case = make_case("maple", options, layers=layers)
    loss, logits = case.run()
    leaves, expected = slow(case)
    expected_loss = cross_entropy(expected, case.batch.labels)
    assert_near(logits, expected, "logits")
    assert_near(loss, expected_loss, "loss")
    assert_same_gradients(case, leaves, expected_loss)


def test_random_contexts_stand_where_the_placeholders_stood() -> None:
    case = make_case("maple", {"ctx_init": "", "n_ctx": 3, "depth": 2})
    _, logits = case.run()
    _, expected = slow(case, prefix="X X X")
    assert_near(logits, expected)


def test_prompts_start_from_the_first_words_and_deeper_maps_from_one_draw() -> None:
    case = make_case("maple", {"depth": 3})
    fresh = type(case.method)(
        case.method.clip, case.method.classes, case.method.options, generator=torch.Generator().manual_seed(5)
    )
    state = fresh.learned_state()
    a_photo = case.plain.embed(prompt_ids("a photo")[0, 1:3])
    assert torch.equal(state["text_prompts"][0], a_photo)
    assert 0.01 < float(state["text_prompts"][1:].std()) < 0.03
    weight = state["coupling_weight"]
    assert torch.equal(weight[1], weight[2])
    assert not torch.equal(weight[0], weight[1])
    bound = 32**-0.5
    assert bound * 0.9 < float(weight.abs().max()) <= bound
    assert float(state["coupling_bias"].abs().max()) <= bound


def test_a_checkpoint_predicts_the_new_classes() -> None:
    base = make_case("maple", {"depth": 3})
    new = make_case("maple", {"depth": 3}, names=NEW_NAMES, trained=False)
    with torch.no_grad():
        for parameter in new.method.parameters():
            parameter.zero_()
    new.method.load_learned_state(base.method.learned_state())
    assert base.batch.pixels is not None
    _, expected = slow(base, names=NEW_NAMES)
    found = new.method.predictor()(base.batch.pixels)
    assert not found.requires_grad
    assert_near(found, expected)


def test_more_contexts_than_initial_words_are_refused_by_name() -> None:
    with pytest.raises(AtlasError, match="4 tokens"):
        make_case("maple", {"n_ctx": 5})


@pytest.mark.parametrize(
    ("name", "protocol", "expected"),
    [
        ("maple", "base_to_new", (0.0035, 4, 5, {"n_ctx": 2, "depth": 9})),
        ("maple", "cross_dataset", (0.0026, 4, 2, {"n_ctx": 2, "depth": 3})),
        ("maple", "domain_generalization", (0.0026, 4, 2, {"n_ctx": 2, "depth": 3})),
        ("dept_maple", "base_to_new", (0.0035, 4, 10, {"n_ctx": 2, "depth": 9, "linear_weight": 0.7})),
        ("vpt", "base_to_new", (0.0025, 4, 5, {"n_ctx": 8, "depth": 12})),
        ("ivlp", "base_to_new", (0.0035, 4, 5, {"n_ctx_text": 2, "n_ctx_vision": 2, "depth_text": 12})),
    ],
)
def test_the_yaml_has_the_published_constants(
    name: str, protocol: str, expected: tuple[float, int, int, dict[str, float]]
) -> None:
    """From the published configuration files that each YAML names."""
    method = METHODS.get(name)
    recipe, raw = resolve_recipe(
        method_defaults(method.defaults_file),
        protocol=protocol,
        dataset="imagenet",
        shots=16,
        training={},
        options={},
    )
    rate, batch_size, epochs, options = expected
    assert (recipe.lr, recipe.batch_size, recipe.epochs) == (rate, batch_size, epochs)
    assert options.items() <= parse_options(method, raw).model_dump().items()

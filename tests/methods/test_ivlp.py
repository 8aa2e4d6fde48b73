"""IVLP against the formulas written out slowly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.methods.plain_clip import cross_entropy
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
    case: Case, leaves: dict[str, Tensor], names: tuple[str, ...] = NAMES, prefix: str = "a photo of a"
) -> Tensor:
    text, visual = leaves["text_prompts"], leaves.get("visual_prompts")
    assert case.batch.pixels is not None
    g = case.plain.text(prompt_ids(prefix, names), text[0], list(text[1:]))
    if visual is None:
        return case.plain.logits(case.plain.image(case.batch.pixels), g)
    return case.plain.logits(case.plain.image(case.batch.pixels, visual[0], list(visual[1:])), g)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"depth_text": 1, "depth_vision": 1}, id="shallow"),
        pytest.param({"depth_text": 3, "depth_vision": 2}, id="deep"),
        pytest.param(
            {"depth_text": 2, "depth_vision": 3, "n_ctx_text": 4, "n_ctx_vision": 5}, id="own lengths"
        ),
        pytest.param({}, id="deeper than both towers"),
        pytest.param({"n_ctx_text": 4, "n_ctx_vision": 0, "depth_vision": 0}, id="language only"),
        pytest.param({"depth_text": 3, "text_chunk": 3, "gradient_checkpointing": True}, id="recomputed"),
    ],
)
def test_loss_logits_and_gradients_are_those_of_the_formula(options: dict[str, object]) -> None:
    case = make_case("ivlp", options)
    loss, logits = case.run()
    leaves = case.leaves()
    expected = slow_logits(case, leaves)
    expected_loss = cross_entropy(expected, case.batch.labels)
    assert_near(logits, expected, "logits")
    assert_near(loss, expected_loss, "loss")
    assert_same_gradients(case, leaves, expected_loss)


def test_each_tower_has_at_most_as_many_prompted_blocks_as_blocks() -> None:
    state = make_case("ivlp").method.learned_state()
    assert state["text_prompts"].shape == (4, 2, 32)
    assert state["visual_prompts"].shape == (3, 2, 48)


@pytest.mark.parametrize("options", [{"n_ctx_vision": 0}, {"depth_vision": 0}])
def test_language_only_prompts_learn_nothing_of_the_image_tower(options: dict[str, int]) -> None:
    """As vit_b16_c2_ep5_batch4_4ctx_language_only.yaml, which sets both to 0."""
    case = make_case("ivlp", {"n_ctx_text": 4, **options})
    assert {name: tuple(each.shape) for name, each in case.method.learned_state().items()} == {
        "text_prompts": (4, 4, 32)
    }
    new = make_case("ivlp", {"n_ctx_text": 4, **options}, names=NEW_NAMES, trained=False)
    new.method.load_learned_state(case.method.learned_state())
    assert case.batch.pixels is not None
    found = new.method.predictor()(case.batch.pixels)
    assert_near(found, slow_logits(case, case.leaves(), NEW_NAMES))


def test_random_contexts_stand_where_the_placeholders_stood() -> None:
    case = make_case("ivlp", {"ctx_init": "", "n_ctx_text": 3})
    _, logits = case.run()
    assert_near(logits, slow_logits(case, case.leaves(), prefix="X X X"))


def test_a_checkpoint_predicts_the_new_classes() -> None:
    base, new = make_case("ivlp"), make_case("ivlp", names=NEW_NAMES, trained=False)
    with torch.no_grad():
        for parameter in new.method.parameters():
            parameter.zero_()
    new.method.load_learned_state(base.method.learned_state())
    assert base.batch.pixels is not None
    found = new.method.predictor()(base.batch.pixels)
    assert_near(found, slow_logits(base, base.leaves(), NEW_NAMES))

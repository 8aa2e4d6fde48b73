"""VPT against the formulas written out slowly."""

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
    visual = leaves["visual_prompts"]
    assert case.batch.pixels is not None
    f = case.plain.image(case.batch.pixels, visual[0], list(visual[1:]))
    return case.plain.logits(f, case.plain.text(prompt_ids(prefix, names)))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        pytest.param({"depth": 1}, (1, 8, 48), id="shallow"),
        pytest.param({"depth": 2, "n_ctx": 3}, (2, 3, 48), id="deep"),
        pytest.param({}, (3, 8, 48), id="deeper than the tower"),
        pytest.param({"gradient_checkpointing": True}, (3, 8, 48), id="recomputed"),
    ],
)
def test_loss_logits_and_gradients_are_those_of_the_formula(
    options: dict[str, object], shape: tuple[int, ...]
) -> None:
    case = make_case("vpt", options)
    loss, logits = case.run()
    leaves = case.leaves()
    assert leaves["visual_prompts"].shape == shape
    expected = slow_logits(case, leaves)
    expected_loss = cross_entropy(expected, case.batch.labels)
    assert_near(logits, expected, "logits")
    assert_near(loss, expected_loss, "loss")
    assert_same_gradients(case, leaves, expected_loss)


def test_the_template_of_the_class_features_can_be_changed() -> None:
    case = make_case("vpt", {"template": "a drawing of the {}."})
    _, logits = case.run()
    assert_near(logits, slow_logits(case, case.leaves(), prefix="a drawing of the"))


def test_a_checkpoint_predicts_the_new_classes() -> None:
    base, new = make_case("vpt"), make_case("vpt", names=NEW_NAMES, trained=False)
    with torch.no_grad():
        new.method.get_parameter("visual_prompts").zero_()
    new.method.load_learned_state(base.method.learned_state())
    assert base.batch.pixels is not None
    found = new.method.predictor()(base.batch.pixels)
    assert_near(found, slow_logits(base, base.leaves(), NEW_NAMES))

"""DePT over MaPLe against the formulas written out slowly; what hosts share is tested with the text hosts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atlas_core.methods.traits.base import Classes
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


def slow_features(
    case: Case, leaves: dict[str, Tensor], names: tuple[str, ...] = NAMES
) -> tuple[Tensor, Tensor]:
    """Raw f and g of MaPLe."""
    text, weight, bias = leaves["text_prompts"], leaves["coupling_weight"], leaves["coupling_bias"]
    visual = [text[j] @ weight[j].T + bias[j] for j in range(len(text))]
    assert case.batch.pixels is not None
    g = case.plain.text(prompt_ids("a photo of a", names), text[0], list(text[1:]))
    return case.plain.image(case.batch.pixels, visual[0], visual[1:]), g


def slow_head(leaves: dict[str, Tensor], modality: str, features: Tensor) -> Tensor:
    shifted = features * leaves[f"film_{modality}.scale"] + leaves[f"film_{modality}.bias"]
    return shifted @ leaves["linear.weight"].T + leaves["linear.bias"]


@pytest.mark.parametrize("options", [{"depth": 3}, {"linear_weight": 0.25, "gradient_checkpointing": True}])
def test_loss_logits_and_gradients_are_those_of_the_formula(options: dict[str, float]) -> None:
    case = make_case("dept_maple", options)
    loss, logits = case.run()
    leaves, labels = case.leaves(), case.batch.labels
    f, g = slow_features(case, leaves)
    expected = case.plain.logits(f, g)
    scores = torch.cat([slow_head(leaves, "text", g[labels]), slow_head(leaves, "image", f)])
    w = options.get("linear_weight", 0.7)
    expected_loss = (1 - w) * cross_entropy(expected, labels)
    expected_loss = expected_loss + w * cross_entropy(scores, torch.cat([labels, labels]))
    assert_near(logits, expected, "logits")
    assert_near(loss, expected_loss, "loss")
    assert_same_gradients(case, leaves, expected_loss)


def test_the_head_joins_the_prediction_of_trained_classes_only() -> None:
    base = make_case("dept_maple", {"depth": 3})
    new = make_case("dept_maple", {"depth": 3}, names=NEW_NAMES, trained=False)
    new.method.load_learned_state(base.method.learned_state(), Classes(NAMES, {}))
    pixels = base.batch.pixels
    assert pixels is not None
    leaves = base.leaves()
    f, g = slow_features(base, leaves)
    assert_near(
        base.method.predictor()(pixels), 0.3 * base.plain.logits(f, g) + 0.7 * slow_head(leaves, "image", f)
    )
    f, g = slow_features(base, leaves, NEW_NAMES)
    assert_near(new.method.predictor()(pixels), base.plain.logits(f, g))

"""CoCoOp gives every image class features of its own, whatever is shared on the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atlas_core.backbone.text import encode_prompts
from atlas_core.methods import cocoop
from atlas_core.methods.cocoop import CoCoOp
from tests.methods.plain_clip import cross_entropy, unit
from tests.methods.text_case import PlainText, build, make_text_case, plain_of, rebuilt
from tests.methods.visual_case import NAMES, NEW_NAMES, assert_near, assert_same_gradients

SMALL = {"reduction": 4}  # of 24 features: six hidden units


def slow_logits(
    plain: PlainText, leaves: dict[str, torch.Tensor], features: torch.Tensor, names: tuple[str, ...] = NAMES
) -> torch.Tensor:
    rows = []
    for feature in unit(features):
        hidden = (leaves["hidden.weight"] @ feature + leaves["hidden.bias"]).clamp(min=0)
        shift = leaves["shift.weight"] @ hidden + leaves["shift.bias"]
        text = plain.context(torch.stack([vector + shift for vector in leaves["ctx"]]), names)
        rows.append(plain.logits(feature[None], text)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("images", [1, 3])
def test_logits_loss_and_gradient_are_the_slow_ones(images: int, chunk: int | None) -> None:
    case = make_text_case("cocoop", {**SMALL, "text_chunk": chunk}, images=images)
    loss, logits = case.run()
    leaves = case.leaves()
    expected = slow_logits(plain_of(case), leaves, case.batch.features)
    slow_loss = cross_entropy(expected, case.batch.labels)
    assert_near(logits, expected, "logits")
    assert_near(loss, slow_loss, "loss")
    assert_same_gradients(case, leaves, slow_loss)


def test_context_and_network_serve_other_class_names() -> None:
    case = make_text_case("cocoop", SMALL)
    new = rebuilt(case, "cocoop", SMALL)
    expected = slow_logits(plain_of(case), case.leaves(), case.batch.features, NEW_NAMES)
    assert_near(new.predictor()(case.batch.features), expected)


def test_prediction_in_chunks_is_prediction_at_once() -> None:
    case = make_text_case("cocoop", {**SMALL, "prediction_chunk": 1})
    whole = make_text_case("cocoop", SMALL)
    features = case.batch.features
    assert_near(case.method.predictor()(features), whole.method.predictor()(features))


def test_the_context_is_one_prefix_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text tower is asked once a step, for one start token and context an image, shared by its classes."""
    seen = []

    def spy(*arguments: Any, **named: Any) -> torch.Tensor:
        seen.append((tuple(arguments[2].shape), arguments[1].n_sequences))
        return encode_prompts(*arguments, **named)

    monkeypatch.setattr(cocoop, "encode_prompts", spy)
    case = make_text_case("cocoop", SMALL, images=2)
    case.run()
    assert seen == [((2, 1 + 4, case.method.clip.text.width), 2 * len(NAMES))]


def test_layers_start_as_torchs_do_from_the_runs_generator() -> None:
    first, again, other = (build("cocoop", {"reduction": 1}, seed=each) for each in (1, 1, 2))
    assert isinstance(first, CoCoOp)
    weight = first.hidden.weight.detach()
    assert float(weight.abs().max()) <= weight.shape[1] ** -0.5
    assert float(weight.std()) == pytest.approx((weight.shape[1] * 3) ** -0.5, rel=0.1)
    assert torch.equal(weight, again.learned_state()["hidden.weight"])
    assert not torch.equal(weight, other.learned_state()["hidden.weight"])


def test_a_random_context() -> None:
    assert build("cocoop", {"ctx_init": "", "n_ctx": 7}).learned_state()["ctx"].shape[0] == 7

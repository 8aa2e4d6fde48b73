"""ProGrad's gradient is the cross-entropy's, without what goes against the zero-shot model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from atlas_core.errors import AtlasError
from atlas_core.methods.prograd import ProGrad, project
from tests.methods.plain_clip import cross_entropy
from tests.methods.text_case import TEMPLATES, PlainText, build, make_text_case, plain_of, rebuilt
from tests.methods.visual_case import NAMES, NEW_NAMES, assert_near


def slow_text(plain: PlainText, ctx: torch.Tensor, names: tuple[str, ...] = NAMES) -> torch.Tensor:
    """Sixteen vectors for eight placeholders and eight words: with the comma a ninth token, "a", is left."""
    return torch.stack(
        [plain.prompt([ctx, plain.words("a"), plain.words(name), plain.words(".")]) for name in names]
    )


def slow_projection(a: torch.Tensor, b: torch.Tensor, amount: float) -> torch.Tensor:
    unit = b / math.sqrt(sum(float(each) ** 2 for each in b.flatten()))
    along = sum(float(x) * float(y) for x, y in zip(a.flatten(), unit.flatten(), strict=True))
    return a - amount * along * unit if along < 0 else a


@pytest.mark.parametrize("options", [{}, {"projection": 0.8}, {"projection": 0.5, "temperature": 2.0}])
def test_logits_loss_and_gradient_are_the_slow_ones(options: dict[str, float]) -> None:
    """One image under each label in turn.

    By their definitions the gradients a of the labels, weighted by the student's probabilities, sum to zero: so
    some conflict with b and some do not, and both sides of the projection are tested.
    """
    case = make_text_case("prograd", options, images=1)
    plain, features = plain_of(case), case.batch.features
    teacher = plain.logits(features, plain.template(TEMPLATES["prograd"]))[0]
    temperature = options.get("temperature", 1.0)
    conflicts = set()
    for label in range(len(NAMES)):
        case = replace(case, batch=replace(case.batch, labels=torch.tensor([label])))
        loss, logits = case.run()
        leaves = case.leaves()
        slow_logits = plain.logits(features, slow_text(plain, leaves["ctx"]))
        soft, log_probabilities = teacher / temperature, (slow_logits[0] / temperature).log_softmax(0)
        distillation = -(temperature**2) * (soft.softmax(0) * log_probabilities).sum()
        slow_loss = cross_entropy(slow_logits, case.batch.labels)
        (b,) = torch.autograd.grad(distillation, leaves["ctx"], retain_graph=True)
        (a,) = torch.autograd.grad(slow_loss, leaves["ctx"])
        conflicts.add(float((a * b).sum()) < 0)
        assert_near(logits, slow_logits, "logits")
        assert_near(loss, slow_loss, "loss")
        expected = slow_projection(a, b, options.get("projection", 1.0))
        assert_near(case.gradients()["ctx"], expected, "gradient")
    assert conflicts == {False, True}


def test_a_batchs_distillation_is_the_mean_over_its_images() -> None:
    case = make_text_case("prograd")
    assert isinstance(case.method, ProGrad)
    case.method.loss(case.batch, lambda z: z.sum())
    plain = plain_of(case)
    teacher = plain.logits(case.batch.features, plain.template(TEMPLATES["prograd"]))
    student = plain.logits(case.batch.features, slow_text(plain, case.leaves()["ctx"]))
    rows = [-(t.softmax(0) * z.log_softmax(0)).sum() for t, z in zip(teacher, student, strict=True)]
    assert_near(case.method.distillation, torch.stack(rows).mean())


vectors = arrays.arrays(
    "float64", (2, 3), elements=st.floats(-10, 10).filter(lambda x: x == 0 or abs(x) > 1e-3)
)


@given(vectors, vectors)
def test_the_projected_gradient_never_raises_the_distillation_loss(a: object, b: object) -> None:
    gradient, direction = torch.tensor(a), torch.tensor(b)
    kept = project(gradient, direction, 1.0)
    assert float((kept * direction).sum()) >= -1e-9
    if float((gradient * direction).sum()) >= 0:
        assert torch.equal(kept, gradient)


def test_a_vanishing_direction_changes_nothing() -> None:
    gradient = torch.randn(4, 8)
    assert torch.equal(project(gradient, torch.zeros(4, 8), 1.0), gradient)


def test_initial_context_is_zeros_then_the_templates_words() -> None:
    method = build("prograd")
    assert isinstance(method, ProGrad)
    words = method.clip.text.token_embedding[
        method.clip.tokenize(["a kind of thing, a drawing of a"])[0, 1:9]
    ]
    assert torch.equal(method.ctx[:8], torch.zeros(8, method.clip.text.width))
    assert torch.equal(method.ctx[8:], words)


def test_a_template_without_words_in_front_starts_from_zeros() -> None:
    method = build("prograd", templates={"coop": "{} texture."})
    assert not method.learned_state()["ctx"].any()


def test_random_and_class_specific_starts() -> None:
    random = build("prograd", {"initial": "random"}).learned_state()["ctx"]
    assert float(random.std()) == pytest.approx(0.02, rel=0.1)
    own = build("prograd", {"class_specific": True, "initial": "random"}).learned_state()["ctx"]
    assert own.shape == (len(NAMES), *random.shape)


def test_too_few_vectors_for_the_template_are_refused() -> None:
    with pytest.raises(AtlasError, match="4 context vectors for the 8 words"):
        build("prograd", {"n_ctx": 4})


def test_the_context_serves_other_class_names() -> None:
    case = make_text_case("prograd")
    text = slow_text(plain_of(case), case.leaves()["ctx"], NEW_NAMES)
    new = rebuilt(case, "prograd")
    assert_near(new.predictor()(case.batch.features), plain_of(case).logits(case.batch.features, text))

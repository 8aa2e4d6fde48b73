"""KgCoOp is CoOp with the cosine distance to the hand-written prompts."""

import pytest
import torch

from atlas_core.methods.kgcoop import KgCoOp
from atlas_core.training.recipe import method_defaults, resolve_recipe
from tests.methods.plain_clip import PlainClip, cross_entropy, unit
from tests.methods.text_case import TEMPLATES, build, make_text_case, plain_of, rebuilt
from tests.methods.visual_case import NEW_NAMES, assert_near, assert_same_gradients


def slow_distance(text: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    cosines = [(unit(own) * unit(other)).sum() for own, other in zip(text, fixed, strict=True)]
    return 1 - torch.stack(cosines).mean()


@pytest.mark.parametrize("weight", [8.0, 1.0])
def test_logits_loss_and_gradient_are_the_slow_ones(weight: float) -> None:
    case = make_text_case("kgcoop", {"weight": weight})
    loss, logits = case.run()
    leaves, plain = case.leaves(), plain_of(case)
    text = plain.context(leaves["ctx"])
    slow_logits = plain.logits(case.batch.features, text)
    fixed = plain.template(TEMPLATES["kgcoop"])
    slow_loss = cross_entropy(slow_logits, case.batch.labels) + weight * slow_distance(text, fixed)
    assert_near(logits, slow_logits, "logits")
    assert_near(loss, slow_loss, "loss")
    assert_same_gradients(case, leaves, slow_loss)


def test_the_context_serves_other_class_names() -> None:
    case = make_text_case("kgcoop")
    plain: PlainClip = plain_of(case)
    text = plain_of(case).context(case.leaves()["ctx"], NEW_NAMES)
    new = rebuilt(case, "kgcoop")
    assert_near(new.predictor()(case.batch.features), plain.logits(case.batch.features, text))


def test_it_starts_at_the_hand_written_prompt() -> None:
    method = build("kgcoop", templates={"coop": "{} texture.", "kgcoop": "a photo of a {}."})
    assert isinstance(method, KgCoOp)
    distance = method.regulariser(torch.empty(0), method.text_features())
    assert float(distance.detach()) == pytest.approx(0, abs=1e-5)


def test_published_constants() -> None:
    defaults = method_defaults(KgCoOp.defaults_file)
    recipe, options = resolve_recipe(
        defaults, protocol="base_to_new", dataset="dtd", shots=16, training={}, options={}
    )
    assert (recipe.lr, recipe.batch_size, recipe.epochs) == (0.002, 128, 100)
    assert KgCoOp.Options.model_validate(options).weight == 8.0

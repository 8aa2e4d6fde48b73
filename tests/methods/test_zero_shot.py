"""Zero-shot CLIP: cosine similarity with one hand-written prompt or the mean of several."""

import pytest
import torch

from atlas_core.errors import AtlasError
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes, parse_options
from atlas_core.methods.traits.zero_shot import SEVEN_TEMPLATES
from tests.methods.plain_clip import unit
from tests.methods.text_case import TEMPLATES, make_text_case, plain_of
from tests.methods.visual_case import NAMES, assert_near


def test_single_prompt() -> None:
    case = make_text_case("zero_shot")
    plain = plain_of(case)
    expected = plain.logits(case.batch.features, plain.template(TEMPLATES["coop"]))
    assert_near(case.method.predictor()(case.batch.features), expected)


@pytest.mark.parametrize("own", [True, False])
def test_the_ensemble_is_the_mean_of_normalised_features(own: bool) -> None:
    case = make_text_case("zero_shot", {"prompts": "ensemble", "own_template": own})
    plain = plain_of(case)
    total = torch.zeros(len(NAMES), case.method.clip.embed_dim)
    templates = [*SEVEN_TEMPLATES, TEMPLATES["coop"]] if own else SEVEN_TEMPLATES
    for template in templates:
        total += unit(plain.template(template))
    assert_near(
        case.method.predictor()(case.batch.features),
        plain.logits(case.batch.features, total / len(templates)),
    )


def test_it_reads_the_data_sets_template() -> None:
    method = METHODS.get("zero_shot")
    classes = Classes((), {"coop": "{} texture."})
    assert method.text_reference(parse_options(method, {}), classes) is not None
    reference = method.text_reference(parse_options(method, {"prompts": "ensemble"}), classes)
    assert reference is not None
    assert reference.templates[-1] == "{} texture."
    assert len(reference.templates) == 8


def test_there_is_nothing_to_train() -> None:
    case = make_text_case("zero_shot")
    assert case.method.learned_state() == {}
    with pytest.raises(AtlasError, match="nothing to train"):
        case.run()

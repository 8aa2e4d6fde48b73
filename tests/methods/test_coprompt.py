"""CoPrompt against the formulas written out slowly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.methods.coprompt import CoPrompt
from atlas_core.methods.sentences import read_sentences, sentences_digest
from atlas_core.methods.traits.base import Classes
from atlas_core.methods.traits.coprompt import CoPromptOptions
from atlas_core.methods.traits.imagenet_templates import SIXTY_TEMPLATES
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

SMALL = {"depth": 3, "weight": 2.0}


def slow_features(
    case: Case, leaves: dict[str, Tensor], names: tuple[str, ...] = NAMES
) -> tuple[Tensor, Tensor]:
    """f̃ and g̃, normalised."""
    text, weight, bias = leaves["text_prompts"], leaves["coupling_weight"], leaves["coupling_bias"]
    visual = [text[j] @ weight[j].T + bias[j] for j in range(len(text))]
    assert case.batch.pixels is not None
    f = case.plain.image(case.batch.pixels, visual[0], visual[1:])
    g = case.plain.text(prompt_ids("a photo of a", names), text[0], list(text[1:]))

    def adapted(x: Tensor, name: str, share: float) -> Tensor:
        inner = (x @ leaves[f"{name}.down.weight"].T).clamp(min=0)
        return share * (inner @ leaves[f"{name}.up.weight"].T).clamp(min=0) + (1 - share) * x

    return unit(adapted(f, "adapt_image", 0.1)), unit(adapted(g, "adapt_text", 0.2))


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        pytest.param(SMALL, 2.0, id="deep"),
        pytest.param({"depth": 12}, 1.0, id="deeper than both towers"),
        pytest.param({**SMALL, "text_chunk": 3, "gradient_checkpointing": True}, 2.0, id="recomputed"),
    ],
)
def test_loss_logits_and_gradients_are_those_of_the_formula(
    options: dict[str, object], weight: float
) -> None:
    case = make_case("coprompt", options)
    assert isinstance(case.method, CoPrompt)
    loss, logits = case.run()
    leaves = case.leaves()
    f, g = slow_features(case, leaves)
    template = SIXTY_TEMPLATES[case.method.sentence_index(case.batch.step)]
    sentence = case.plain.text(case.method.clip.tokenize([template.replace("{}", name) for name in NAMES]))
    assert case.batch.second_features is not None
    frozen = unit(case.batch.second_features)
    text_distance = sum(1 - g[c] @ unit(sentence)[c] for c in range(len(g))) / len(g)
    image_distance = sum(1 - f[i] @ frozen[i] for i in range(len(f))) / len(f)
    expected = case.plain.scale * f @ g.T
    expected_loss = cross_entropy(expected, case.batch.labels) + weight * (text_distance + image_distance)
    assert_near(logits, expected, "logits")
    assert_near(loss, expected_loss, "loss")
    assert_same_gradients(case, leaves, expected_loss)


def test_every_sentence_is_drawn_and_a_step_always_draws_the_same() -> None:
    one, other = make_case("coprompt", SMALL).method, make_case("coprompt", SMALL).method
    assert isinstance(one, CoPrompt)
    assert isinstance(other, CoPrompt)
    drawn = [one.sentence_index(step) for step in range(600)]
    assert drawn == [other.sentence_index(step) for step in range(600)]
    assert set(drawn) == set(range(60))


def test_the_adapters_join_the_prediction_of_new_classes() -> None:
    base, new = make_case("coprompt", SMALL), make_case("coprompt", SMALL, names=NEW_NAMES, trained=False)
    assert new.method.reference is None
    with torch.no_grad():
        for parameter in new.method.parameters():
            parameter.zero_()
    new.method.load_learned_state(base.method.learned_state())
    f, g = slow_features(base, base.leaves(), NEW_NAMES)
    assert base.batch.pixels is not None
    assert_near(new.method.predictor()(base.batch.pixels), base.plain.scale * f @ g.T)


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.json"
    content = {"sea_or_lake": ["Water.", "Blue."], "river": ["A stream.", "It flows.", "Banks."]}
    path.write_text(json.dumps(content))
    return path


def test_sentences_are_read_by_class_as_many_as_all_have(sentences: Path) -> None:
    rows = read_sentences(sentences, ("river", "sea or lake"))
    assert rows == [("A stream.", "Water."), ("It flows.", "Blue.")]


def test_sentences_take_the_templates_place_and_their_path_stays_out_of_the_key(
    sentences: Path,
) -> None:
    options = CoPromptOptions(sentences_file=sentences)
    classes = Classes(("river",), {"coop": "a photo of a {}."})
    reference = CoPrompt.text_reference(options, classes)
    assert reference is not None
    assert (reference.sentences_file, reference.templates, reference.keep_each) == (sentences, (), True)
    assert "sentences_file" not in options.model_dump(mode="json")
    assert CoPrompt.text_reference(options, Classes(("river",), classes.templates, trained=False)) is None
    digest = sentences_digest(sentences)
    sentences.write_text(sentences.read_text().replace("Blue", "Deep"))
    assert sentences_digest(sentences) != digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "cannot be used"),
        ("[]", "mapping"),
        ('{"river": []}', "list of sentences"),
        ('{"river": ["ok", 3]}', "no sentence"),
        ('{"rivers": ["ok"]}', "unknown class"),
    ],
)
def test_unusable_sentences_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "sentences.json"
    path.write_text(content)
    with pytest.raises(AtlasError, match=message):
        read_sentences(path, ("river",))
    with pytest.raises(AtlasError, match="cannot be used"):
        sentences_digest(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("dataset", "depth", "n_ctx", "weight", "epochs"),
    [
        ("imagenet", 12, 4, 8, 8),
        ("caltech101", 12, 4, 4, 8),
        ("oxford_pets", 12, 2, 0.1, 8),
        ("stanford_cars", 12, 4, 4, 8),
        ("oxford_flowers", 9, 4, 8, 8),
        ("food101", 9, 4, 0.5, 5),
        ("fgvc_aircraft", 9, 4, 2, 8),
        ("sun397", 12, 4, 8, 8),
        ("dtd", 12, 2, 8, 8),
        ("eurosat", 12, 2, 0.1, 8),
        ("ucf101", 12, 4, 2, 8),
        ("any_other", 9, 2, 1, 8),
    ],
)
def test_the_yaml_has_the_published_constants_of_each_data_set(
    dataset: str, depth: int, n_ctx: int, weight: float, epochs: int
) -> None:
    """trainers/constants.py and configs/trainers/coprompt.yaml of the authors' repository."""
    recipe, raw = resolve_recipe(
        method_defaults(CoPrompt.defaults_file),
        protocol="base_to_new",
        dataset=dataset,
        shots=16,
        training={},
        options={},
    )
    options = CoPromptOptions(**raw)
    assert (options.depth, options.n_ctx, options.weight, recipe.epochs) == (depth, n_ctx, weight, epochs)
    assert (recipe.lr, recipe.batch_size) == (0.0035, 4)

"""CoOp computes what a slow CLIP computes, for every place of the class name."""

import pytest
import torch

from atlas_core.errors import AtlasError
from atlas_core.methods.coop import CoOp
from tests.methods.plain_clip import cross_entropy
from tests.methods.text_case import PlainText, build, make_text_case, plain_of, rebuilt
from tests.methods.visual_case import NAMES, NEW_NAMES, assert_near, assert_same_gradients


def slow_text(
    plain: PlainText, ctx: torch.Tensor, position: str, names: tuple[str, ...] = NAMES
) -> torch.Tensor:
    """[C, D], every class's prompt put together from its pieces."""
    features = []
    for index, name in enumerate(names):
        own = ctx[index] if ctx.dim() == 3 else ctx
        before = {"end": len(own), "middle": len(own) // 2, "front": 0}[position]
        features.append(plain.prompt([own[:before], plain.words(name), own[before:], plain.words(".")]))
    return torch.stack(features)


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_logits_loss_and_gradient_are_the_slow_ones(position: str, class_specific: bool) -> None:
    case = make_text_case(
        "coop", {"n_ctx": 5, "position": position, "class_specific": class_specific, "text_chunk": 3}
    )
    loss, logits = case.run()
    leaves = case.leaves()
    plain = plain_of(case)
    slow_logits = plain.logits(case.batch.features, slow_text(plain, leaves["ctx"], position))
    slow_loss = cross_entropy(slow_logits, case.batch.labels)
    assert_near(logits, slow_logits, "logits")
    assert_near(loss, slow_loss, "loss")
    assert_same_gradients(case, leaves, slow_loss)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_a_shared_context_serves_other_class_names(position: str) -> None:
    case = make_text_case("coop", {"n_ctx": 4, "position": position})
    new = rebuilt(case, "coop", {"n_ctx": 4, "position": position})
    plain = plain_of(case)
    text = slow_text(plain, case.leaves()["ctx"], position, NEW_NAMES)
    assert_near(new.predictor()(case.batch.features), plain.logits(case.batch.features, text))


def test_class_specific_contexts_are_refused_for_other_classes() -> None:
    with pytest.raises(AtlasError, match="belong to the classes"):
        build("coop", {"class_specific": True}, names=NEW_NAMES, trained=False)


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    state = build("coop", {"n_ctx": 4}).learned_state()
    with pytest.raises(AtlasError, match="shape"):
        build("coop", {"n_ctx": 5}).load_learned_state(state)
    with pytest.raises(AtlasError, match="no parameter 'ctx'"):
        build("coop", {"n_ctx": 5}).load_learned_state({})


def test_initial_words_give_the_zero_shot_model_of_that_prompt() -> None:
    method = build("coop", {"ctx_init": "a_photo of a"})
    assert isinstance(method, CoOp)
    assert method.ctx.shape == (4, method.clip.text.width)
    direct = method.clip.encode_text([f"a photo of a {name}." for name in NAMES])
    assert_near(method.text_features(), direct)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("coop", {"ctx_init": ""}),
        ("kgcoop", {"ctx_init": ""}),
        ("dept_coop", {"ctx_init": ""}),
        ("prograd", {"initial": "random"}),
    ],
)
def test_class_specific_contexts_start_from_random_numbers_as_published(
    name: str, advice: dict[str, str]
) -> None:
    """The published trainers train one context for all where it starts from words, whatever CSC says."""
    words = {"ctx_init": "a photo of a", "class_specific": True}
    with pytest.raises(AtlasError, match=f"set {next(iter(advice))}: .* or class_specific: false"):
        build(name, words)
    method = build(name, {**words, **advice, "n_ctx": 5})
    assert method.learned_state()["ctx"].shape == (len(NAMES), 5, method.clip.text.width)
    shared = build(name, {**words, "class_specific": False})
    assert shared.learned_state()["ctx"].ndim == 2


def test_a_random_context_depends_on_the_seed_alone() -> None:
    first, again, other = (build("coop", seed=each).learned_state()["ctx"] for each in (1, 1, 2))
    assert first.shape[0] == 16
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.std()) == pytest.approx(0.02, rel=0.1)


def test_chunks_change_nothing() -> None:
    whole, parts = (make_text_case("coop", {"text_chunk": each}) for each in (None, 1))
    assert_near(whole.run()[0], parts.run()[0])
    assert_near(whole.gradients()["ctx"], parts.gradients()["ctx"])


def test_the_image_tower_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the image tower ran")

    case = make_text_case("coop")
    monkeypatch.setattr("atlas_core.backbone.clip.forward", fail)
    case.run()
    case.method.predictor()(case.batch.features)

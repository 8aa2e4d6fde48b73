"""TCP puts vectors made of each class's frozen feature into the text tower."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from open_clip import SimpleTokenizer

from atlas_core.backbone.text import encode_prompts
from atlas_core.errors import AtlasError
from atlas_core.methods import tcp
from atlas_core.methods.tcp import TCP
from atlas_core.methods.traits.base import Classes
from atlas_core.methods.traits.tcp import TCPOptions
from atlas_core.training.optimiser import build_optimiser, learning_rate
from atlas_core.training.recipe import Recipe, method_defaults, resolve_recipe
from tests.methods.plain_clip import cross_entropy, unit
from tests.methods.test_kgcoop import slow_distance
from tests.methods.text_case import TEMPLATES, PlainText, build, make_text_case, plain_of, rebuilt
from tests.methods.visual_case import NAMES, NEW_NAMES, assert_near, assert_same_gradients


def slow_text(
    plain: PlainText, leaves: dict[str, torch.Tensor], block: int, names: tuple[str, ...] = NAMES
) -> torch.Tensor:
    ids = plain_ids(names)
    features = []
    for row, fixed in zip(ids, unit(plain.template(TEMPLATES["tcp"], names)), strict=True):
        hidden = leaves["hidden.weight"] @ fixed + leaves["hidden.bias"]
        hidden = hidden / (1 + torch.exp(-1.702 * hidden))
        own = (leaves["prompts.weight"] @ hidden + leaves["prompts.bias"]).reshape(leaves["ctx"].shape)
        rows = plain.embed(row)
        rows = torch.cat([rows[:1], leaves["ctx"], rows[1 + len(own) :]])
        features.append(plain.encode(rows, int(row.argmax()), {block: own}))
    return torch.stack(features)


def plain_ids(names: tuple[str, ...]) -> torch.Tensor:
    ids: torch.Tensor = SimpleTokenizer()([TEMPLATES["tcp_prompt"].format(name) for name in names])
    return ids


@pytest.mark.parametrize(("inject_at", "block"), [(None, 3), (1, 1), (2, 2)])
def test_logits_loss_and_gradient_are_the_slow_ones(inject_at: int | None, block: int) -> None:
    case = make_text_case("tcp", {"inject_at": inject_at, "text_chunk": 3})
    loss, logits = case.run()
    leaves, plain = case.leaves(), plain_of(case)
    text = slow_text(plain, leaves, block)
    slow_logits = plain.logits(case.batch.features, text)
    fixed = plain.template(TEMPLATES["tcp"])
    slow_loss = cross_entropy(slow_logits, case.batch.labels) + 8.0 * slow_distance(text, fixed)
    assert_near(logits, slow_logits, "logits")
    assert_near(loss, slow_loss, "loss")
    assert_same_gradients(case, leaves, slow_loss)


def test_context_and_network_serve_other_class_names() -> None:
    case = make_text_case("tcp")
    new = rebuilt(case, "tcp")
    text = slow_text(plain_of(case), case.leaves(), 3, NEW_NAMES)
    assert_near(new.predictor()(case.batch.features), plain_of(case).logits(case.batch.features, text))


def test_one_context_is_given_for_all_classes_and_class_prompts_at_the_injection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the tower shares the context below the injection block."""
    seen = []

    def spy(*arguments: Any, replace: dict[int, torch.Tensor], **named: Any) -> torch.Tensor:
        seen.append(
            (tuple(arguments[2].shape), {block: tuple(each.shape) for block, each in replace.items()})
        )
        return encode_prompts(*arguments, replace=replace, **named)

    monkeypatch.setattr(tcp, "encode_prompts", spy)
    case = make_text_case("tcp", {"inject_at": 2})
    case.run()
    width = case.method.clip.text.width
    assert seen == [((5, width), {2: (len(NAMES), 4, width)})]


def test_the_published_block_is_the_ninth_of_twelve() -> None:
    method = build("tcp", text_layers=12)
    assert isinstance(method, TCP)
    assert method.inject_at == 8


def test_a_block_that_the_tower_lacks_is_refused() -> None:
    with pytest.raises(AtlasError, match="text block 4"):
        build("tcp", {"inject_at": 4})


@pytest.mark.parametrize(
    ("templates", "n_ctx", "expected"),
    [
        ({"coop": "a photo of a {}."}, 4, "X X X X {}."),
        ({"coop": "a photo of a {}, a type of pet."}, 2, "X X {}, a type of pet."),
        ({"coop": "c {}.", "tcp_prompt": "X X X X {} texture."}, 6, "X X X X X X {} texture."),
        (
            {"coop": "c {}.", "tcp_prompt": "a photo of a person doing {}."},
            4,
            "a photo of a person doing {}.",
        ),
    ],
)
def test_prompt_around_the_context(templates: dict[str, str], n_ctx: int, expected: str) -> None:
    assert TCP.prompt_template(TCPOptions(n_ctx=n_ctx), Classes((), templates)) == expected


PROTOCOLS_OF_IMAGENET = ("base_to_new", "few_shot", "cross_dataset", "domain_generalization")


@pytest.mark.parametrize(
    ("dataset", "protocol", "epochs", "last_rate"),
    [
        ("dtd", "base_to_new", 50, 0.001 * (1 + math.cos(math.pi * 48 / 50))),
        ("sun397", "base_to_new", 25, 3.14160e-5),
        *(("imagenet", protocol, 25, 3.14160e-5) for protocol in PROTOCOLS_OF_IMAGENET),
    ],
)
def test_published_training(dataset: str, protocol: str, epochs: int, last_rate: float) -> None:
    """The published train.py sets MAX_EPOCH = 25 for ImageNet and SUN397: the cosine's length, not an early stop."""
    recipe, _ = _recipe(dataset, protocol)
    assert (recipe.optimizer, recipe.lr, recipe.adam_eps) == ("adam", 0.002, 1e-3)
    assert (recipe.epochs, recipe.trained_epochs, recipe.batch_size) == (epochs, epochs, 32)
    assert learning_rate(recipe, recipe.lr, epochs - 1) == pytest.approx(last_rate, rel=1e-4)


def test_learned_parameters_are_single_precision_so_that_adams_epsilon_is_not_zero() -> None:
    method = build("tcp")
    assert {each.dtype for each in method.parameters()} == {torch.float32}
    (group,) = build_optimiser(method, _recipe("dtd")[0]).param_groups
    assert group["eps"] == 1e-3
    assert torch.tensor(1e-8, dtype=torch.float16) == 0  # the trap of the published half-precision training


def _recipe(dataset: str, protocol: str = "base_to_new") -> tuple[Recipe, dict[str, object]]:
    defaults = method_defaults(TCP.defaults_file)
    return resolve_recipe(defaults, protocol=protocol, dataset=dataset, shots=16, training={}, options={})

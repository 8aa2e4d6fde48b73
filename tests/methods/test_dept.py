"""DePT: the host's logits beside a class-bound linear head."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atlas_core.methods.dept import DePT
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes
from atlas_core.training.optimiser import build_optimiser
from atlas_core.training.recipe import method_defaults, resolve_recipe
from tests.methods.plain_clip import cross_entropy, unit
from tests.methods.test_cocoop import slow_logits as slow_cocoop
from tests.methods.test_kgcoop import slow_distance
from tests.methods.text_case import TEMPLATES, build, make_text_case, plain_of, rebuilt
from tests.methods.visual_case import NAMES, NEW_NAMES, Case, assert_near, assert_same_gradients

HOSTS: dict[str, dict[str, Any]] = {
    "dept_coop": {"n_ctx": 5},
    "dept_kgcoop": {},
    "dept_cocoop": {"reduction": 4},
}


def slow_text_of_labels(case: Case, leaves: dict[str, torch.Tensor]) -> torch.Tensor:
    """[B, D] raw class features of the images' own classes."""
    plain, rows = plain_of(case), []
    for feature, label in zip(unit(case.batch.features), case.batch.labels, strict=True):
        ctx = leaves["ctx"]
        if "hidden.weight" in leaves:
            hidden = (leaves["hidden.weight"] @ feature + leaves["hidden.bias"]).clamp(min=0)
            ctx = ctx + leaves["shift.weight"] @ hidden + leaves["shift.bias"]
        rows.append(plain.context(ctx, NAMES[int(label) : int(label) + 1])[0])
    return torch.stack(rows)


def slow_host_logits(
    case: Case, leaves: dict[str, torch.Tensor], names: tuple[str, ...] = NAMES
) -> torch.Tensor:
    plain = plain_of(case)
    if "hidden.weight" in leaves:
        return slow_cocoop(plain, leaves, case.batch.features, names)
    return plain.logits(case.batch.features, plain.context(leaves["ctx"], names))


def slow_head(leaves: dict[str, torch.Tensor], side: str, features: torch.Tensor) -> torch.Tensor:
    modulated = leaves[f"film_{side}.scale"] * features + leaves[f"film_{side}.bias"]
    return modulated @ leaves["linear.weight"].T + leaves["linear.bias"]


@pytest.mark.parametrize("weight", [0.7, 0.25])
@pytest.mark.parametrize("name", HOSTS)
def test_logits_loss_and_gradient_are_the_slow_ones(name: str, weight: float) -> None:
    case = make_text_case(name, {**HOSTS[name], "linear_weight": weight})
    loss, logits = case.run()
    leaves = case.leaves()
    z = slow_host_logits(case, leaves)
    text = slow_head(leaves, "text", slow_text_of_labels(case, leaves))
    image = slow_head(leaves, "image", case.batch.features)
    labels = case.batch.labels
    head = cross_entropy(torch.cat([text, image]), torch.cat([labels, labels]))
    slow_loss = (1 - weight) * cross_entropy(z, labels) + weight * head
    if name == "dept_kgcoop":
        fixed = plain_of(case).template(TEMPLATES["kgcoop"])
        slow_loss = slow_loss + 2.0 * slow_distance(plain_of(case).context(leaves["ctx"]), fixed)
    assert_near(logits, z, "logits")
    assert_near(loss, slow_loss, "loss")
    assert_same_gradients(case, leaves, slow_loss)


@pytest.mark.parametrize(("own", "share"), [(None, 0.7), (1.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("name", HOSTS)
def test_trained_classes_are_predicted_by_both_heads(name: str, own: float | None, share: float) -> None:
    case = make_text_case(name, {**HOSTS[name], "prediction_weight": own})
    leaves = case.leaves()
    expected = (1 - share) * slow_host_logits(case, leaves) + share * slow_head(
        leaves, "image", case.batch.features
    )
    assert_near(case.method.predictor()(case.batch.features), expected)


@pytest.mark.parametrize("name", HOSTS)
def test_other_classes_are_predicted_by_the_host_alone(name: str) -> None:
    case = make_text_case(name, HOSTS[name])
    new = rebuilt(case, name, HOSTS[name])
    assert "linear.weight" not in dict(new.named_parameters())
    expected = slow_host_logits(case, case.leaves(), NEW_NAMES)
    assert_near(new.predictor()(case.batch.features), expected)


def test_the_host_starts_as_it_does_alone() -> None:
    assert torch.equal(build("dept_coop").learned_state()["ctx"], build("coop").learned_state()["ctx"])


def test_modulation_starts_as_the_identity() -> None:
    state = build("dept_coop").learned_state()
    assert bool((state["film_text.scale"] == 1).all())
    assert not state["film_image.bias"].any()


MISSILES = ("missile", "cat", "missile", "river")
WNIDS = ("n03773504", "n02123045", "n04008634", "n09411189")


@pytest.mark.parametrize("rows", [[0, 3], [2], [1, 2, 3], [3, 0]])
def test_a_subset_of_the_trained_classes_keeps_its_rows_of_the_head(rows: list[int]) -> None:
    """ImageNet-A and -R have 200 of ImageNet's classes: known by their WordNet ids, for two are called "missile"."""
    case = make_text_case("dept_coop", HOSTS["dept_coop"], names=MISSILES)
    names, ids = (tuple(each[row] for row in rows) for each in (MISSILES, WNIDS))
    subset = build("dept_coop", HOSTS["dept_coop"], names=names, trained=False, ids=ids)
    subset.load_learned_state(case.method.learned_state(), Classes(MISSILES, {}, ids=WNIDS))
    assert_near(
        subset.predictor()(case.batch.features), case.method.predictor()(case.batch.features)[:, rows]
    )


def test_classes_of_which_some_are_new_get_no_head() -> None:
    case = make_text_case("dept_coop", HOSTS["dept_coop"])
    mixed = build("dept_coop", HOSTS["dept_coop"], names=(NAMES[0], "river"), trained=False)
    mixed.load_learned_state(case.method.learned_state(), Classes(NAMES, {}))
    assert isinstance(mixed, DePT)
    assert mixed.linear is None


@pytest.mark.parametrize(
    ("names", "ids", "rows"),
    [
        pytest.param(("c", "b"), ("3", "2"), [2, 1], id="by id, in any order"),
        pytest.param(("b",), ("4",), [3], id="the second of two with one name"),
        pytest.param(("b",), ("9",), None, id="another class of that name"),
        pytest.param(("z",), ("1",), [0], id="a class under another name"),
        pytest.param(("a", "b", "c", "b"), (), [0, 1, 2, 3], id="the same list: label by label"),
        pytest.param(("a", "c"), (), None, id="part of the names, which say nothing"),
    ],
)
def test_rows_of_a_head(names: tuple[str, ...], ids: tuple[str, ...], rows: list[int] | None) -> None:
    trained = Classes(("a", "b", "c", "b"), {}, ids=("1", "2", "3", "4"))
    assert Classes(names, {}, ids=ids).rows_among(trained) == rows


@pytest.mark.parametrize(
    ("name", "prompts", "added"),
    [("dept_coop", 0.0035, 0.02275), ("dept_kgcoop", 0.0035, 0.02275), ("dept_cocoop", 0.002, 0.013)],
)
def test_staged_learning_rates(name: str, prompts: float, added: float) -> None:
    method = build(name)
    recipe, _ = resolve_recipe(
        method_defaults(METHODS.get(name).defaults_file),
        protocol="base_to_new",
        dataset="dtd",
        shots=16,
        training={},
        options={},
    )
    rates = {
        id(parameter): group["lr"]
        for group in build_optimiser(method, recipe).param_groups
        for parameter in group["params"]
    }
    found = {key: rates[id(parameter)] for key, parameter in method.named_parameters()}
    for key, rate in found.items():
        assert rate == (added if key.startswith(("film_", "linear.")) else prompts)
    assert added == pytest.approx(6.5 * prompts)
    assert recipe.epochs == 10

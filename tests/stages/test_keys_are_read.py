"""Whatever is in a key is read: each field of every stage's configuration, and each input, changes what it makes.

Those that do not are named in `atlas_core/stages/identity.py` with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from atlas_core.stages.identity import IDENTITY_ONLY, reason
from tests.stages.key_world import KeyWorld, fields_of, finish


@dataclass(frozen=True, eq=False)
class Change:
    """One thing that is changed at one node.

    Attributes:
        node: Stage and words of the node's name.
        field: "training.lr", or "inputs.classes".
        value: The other value; for an input the stage and words of another node.
        given: Fields that both sides have, where the base study's would hide the difference.
        folder: The dataset's folder that both sides read, where it is another than the study's.
    """

    node: tuple[str, ...]
    field: str
    value: Any
    given: dict[str, Any] = field(default_factory=dict)
    folder: str = ""

    def __str__(self) -> str:
        return f"{'/'.join(self.node)} {self.field}"


COOP = ("tune", "coop", "one_hot", "seed1")
BANK = ("image_features", "train", "seed1", "2-views")
TEXT = ("text_features", "ponds", "own")
TEST = ("image_features", "ponds", "test")
TWO = {"templates": ["a photo of a {}.", "art of {}."]}
SPLIT = {"layout": "coop_split", "split_file": "a.json", "image_folder": "a"}

DATA = [
    Change(("fetch", "ponds"), "source", {"gated": "ask"}),
    Change(("index", "ponds"), "layout", "coop_split", {**SPLIT, "layout": "image_folder"}, "two"),
    Change(("index", "ponds"), "split_file", "b.json", SPLIT, "two"),
    Change(("index", "ponds"), "image_folder", "b", {"image_folder": "a"}, "two"),
    Change(("index", "ponds"), "options", {"class_names": {"red fox": "vixen"}}),
    Change(TEXT, "subset", "base"),
    Change(TEXT, "templates", ["art of {}."]),
    Change(TEXT, "normalise_each", False, TWO),
    Change(TEXT, "keep_each", True, TWO),
    Change(TEXT, "inputs.index", ("index", "reef")),
    Change(BANK, "dtype", "float32"),
    Change(BANK, "subset", "base"),
    Change(BANK, "shots", 1),
    Change(BANK, "seed", 5),
    Change(BANK, "views", 1),
    Change(BANK, "augmentation", "randaugment"),
    Change(BANK, "skip_damaged", True, {}, "damaged"),
    Change(TEST, "split", "train"),
    Change(TEST, "inputs.index", ("index", "reef")),
    *(
        Change(("pixels", "train", "seed1", "2-views"), name, value)
        for name, value in [
            ("image_size", 16),
            ("subset", "base"),
            ("shots", 1),
            ("seed", 5),
            ("views", 1),
            ("augmentation", "randaugment"),
        ]
    ),
    Change(("pixels", "ponds", "test"), "split", "train"),
    Change(("pixels", "ponds", "test"), "inputs.index", ("index", "reef")),
    Change(("csl", "ponds"), "temperature", 1.0),
    Change(("csl", "ponds"), "inputs.text_features", ("text_features", "reef", "own")),
    Change(("isl", "ponds"), "temperature", 1.0),
    Change(("isl", "ponds"), "inputs.text_features", ("text_features", "reef", "own")),
    Change(
        ("isl", "ponds", "seed1"), "inputs.image_features", ("image_features", "train", "seed2", "2-views")
    ),
    Change(("evaluate", "coop", "one_hot", "seed1", "reef"), "target", "pond"),
    Change(("evaluate", "coop", "one_hot", "seed1", "reef"), "subset", "new"),
    Change(("evaluate", "dept_coop", "seed1", "reef"), "trained_classes", True),
    Change(
        ("evaluate", "tcp", "seed1", "reef"), "templates", {"tcp": "{}.", "tcp_prompt": "X X X X {}, a crab."}
    ),
    Change(
        ("evaluate", "coop", "one_hot", "seed1", "reef"), "inputs.run", ("tune", "coop", "one_hot", "seed2")
    ),
    Change(
        ("evaluate", "coop", "one_hot", "seed1", "reef"), "inputs.classes", ("text_features", "ponds", "own")
    ),
    Change(("evaluate", "coop", "one_hot", "seed1", "reef"), "inputs.image_features", TEST),
    Change(("evaluate", "maple", "seed1", "reef"), "inputs.pixels", ("pixels", "ponds", "test")),
    Change(("evaluate", "zero_shot", "reef"), "inputs.reference", ("text_features", "ponds", "own")),
    *(Change(("aggregate",), name, "other") for name in ("study", "protocol", "backbone")),
    *(
        # What each supervision and stand-in is called: every name another one.
        Change(("aggregate",), name, lambda called: {key: f"other {value}" for key, value in called.items()})
        for name in ("supervisions", "stand_ins")
    ),
    Change(
        ("aggregate",),
        "datasets",
        lambda described: {name: {**each, "plain_name": "other"} for name, each in described.items()},
    ),
]
RUNS = [
    Change(COOP, "method", "dept_coop"),
    Change(COOP, "seed", 2),
    Change(("tune", "prograd", "seed1"), "templates", {"prograd": "one two {}."}),
    Change(("tune", "tcp", "seed1"), "templates", {"tcp": "{}.", "tcp_prompt": "X X X X {}, a crab."}),
    Change(COOP, "inputs.classes", ("text_features", "reef", "own")),
    Change(COOP, "inputs.image_features", ("image_features", "train", "seed2", "2-views")),
    Change(("tune", "kgcoop", "seed1"), "inputs.reference", ("text_features", "reef", "own")),
    Change(("tune", "maple", "seed1"), "inputs.pixels", ("pixels", "train", "seed2", "2-views")),
    Change(
        ("tune", "coop", "atlas_csl(period=2,temperature=5)", "seed1"), "inputs.csl", ("csl", "temperature2")
    ),
    Change(
        ("tune", "coop", "atlas_isl(period=2,temperature=5)", "seed1"),
        "inputs.isl",
        ("isl", "ponds", "seed2"),
    ),
    Change(
        ("tune", "coop", "tfkd_self(m=1.0)", "seed1"), "inputs.teacher", ("tune", "coop", "one_hot", "seed2")
    ),
    *(
        Change(("tune", "coop", "atlas_csl(period=2,temperature=5)", "seed1"), f"supervision.{name}", value)
        for name, value in [("period", 1), ("mix", 0.5)]
    ),
    Change(
        ("tune", "coop", "tfkd_self(m=1.0)", "seed1"),
        "supervision.options",
        {"alpha": 0.5, "T": 20.0, "m": 1.0},
    ),
    Change(
        ("tune", "coop", "atlas_csl(period=2,temperature=5)", "seed1"),
        "supervision.source",
        "ls",
        {"supervision.temperature": None},
    ),
]
ADAM = {"training.optimizer": "adam"}
TRAINING: dict[str, tuple[Any, dict[str, Any]]] = {
    "optimizer": ("adam", {}),
    "lr": (0.1, {}),
    "momentum": (0.1, {}),
    "weight_decay": (0.5, {}),
    "adam_eps": (0.1, ADAM),
    "batch_size": (2, {}),
    "epochs": (3, {}),
    "stop_after": (1, {}),
    "warmup_epochs": (0, {}),
    "warmup_lr": (0.01, {}),
    "parameter_lr": ({"ctx": 0.5}, {}),
    "average": ({"mean": 1.0, "std": 1.0}, {}),
}
WORDS = ("ctx_init", "a photo of a", {})
SHARED_TEXT: list[tuple[str, Any, dict[str, Any]]] = [("n_ctx", 3, {}), WORDS]
COOPS = [*SHARED_TEXT, ("position", "middle", {}), ("class_specific", True, {})]
DEPT: list[tuple[str, Any, dict[str, Any]]] = [("linear_weight", 0.2, {}), ("prediction_weight", 0.1, {})]
MAPLES: list[tuple[str, Any, dict[str, Any]]] = [*SHARED_TEXT, ("depth", 1, {})]
IVLPS: list[tuple[str, Any, dict[str, Any]]] = [
    ("n_ctx_text", 3, {}),
    ("n_ctx_vision", 3, {}),
    WORDS,
    ("depth_text", 1, {}),
    ("depth_vision", 1, {}),
]
OPTIONS: dict[str, list[tuple[str, Any, dict[str, Any]]]] = {
    "zero_shot": [],
    "coop": COOPS,
    "cocoop": [*SHARED_TEXT, ("reduction", 4, {})],
    "kgcoop": [*COOPS, ("weight", 1.0, {})],
    "prograd": [
        ("n_ctx", 17, {}),
        ("position", "front", {}),
        ("class_specific", True, {"options.initial": "random"}),
        ("initial", "random", {}),
        ("projection", 0.0, {"options.n_ctx": 4}),
        ("temperature", 5.0, {"options.n_ctx": 4}),
    ],
    "tcp": [*SHARED_TEXT, ("inject_at", 1, {}), ("reduction", 2, {}), ("weight", 1.0, {})],
    "dept_coop": [*COOPS, *DEPT],
    "dept_cocoop": [*SHARED_TEXT, ("reduction", 4, {}), *DEPT],
    "dept_kgcoop": [*COOPS, ("weight", 1.0, {}), *DEPT],
    "dept_maple": [*MAPLES, *DEPT],
    "maple": MAPLES,
    "ivlp": IVLPS,
    "promptsrc": [
        *IVLPS,
        ("text_weight", 1.0, {}),
        ("image_weight", 1.0, {}),
        ("logit_weight", 100.0, {}),
        ("frozen_features", "computed", {}),
    ],
    "coprompt": [*MAPLES, ("weight", 8.0, {}), ("image_adapter", 0.5, {}), ("text_adapter", 0.5, {})],
    "vpt": [("n_ctx", 3, {}), ("depth", 1, {})],
}
PRECISION = Change(("tune", "vpt", "one_hot", "seed1"), "training.precision", "bf16")
RECIPES = [PRECISION] + [
    Change(COOP, f"training.{name}", value, given) for name, (value, given) in TRAINING.items()
]
METHOD_OPTIONS = [
    Change(("tune", method, "one_hot", "seed1"), f"options.{name}", value, given)
    for method, options in OPTIONS.items()
    for name, value, given in options
]
CHANGES = [*DATA, *RUNS, *RECIPES, *METHOD_OPTIONS]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> KeyWorld:
    return finish(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_changed_field_changes_what_the_stage_makes(study: KeyWorld, change: Change) -> None:
    node = study.node(*change.node)
    runtime = study.at(node, change.folder)
    before = study.base(node, change.given, runtime)
    if change.field.startswith("inputs."):
        other = {change.field.removeprefix("inputs."): study.node(*change.value)}
        after = study.outcome(node, change.given, other, runtime)
    else:
        value = change.value(node.config[change.field]) if callable(change.value) else change.value
        after = study.outcome(node, {**change.given, change.field: value}, runtime=runtime)
    assert after != before
    assert reason(node.stage, node.config.get("method", ""), change.field) is None, "it is named as unread"


@pytest.mark.parametrize(
    "words", [COOP, TEXT, TEST, ("evaluate", "coop", "one_hot", "seed1", "reef")], ids=str
)
def test_other_weights_change_what_a_stage_with_a_backbone_makes(
    study: KeyWorld, words: tuple[str, ...]
) -> None:
    """Their digest is in the key; they are read from where the study's settings lead."""
    node = study.node(*words)
    other = {**node.runtime["backbone"], "weights": str(study.world.home / "other.safetensors")}
    after = study.outcome(node, {}, runtime={**node.runtime, "backbone": other})
    assert after != study.base(node, {}, {})


def test_a_stage_run_again_with_nothing_changed_makes_the_same(study: KeyWorld) -> None:
    for words in (COOP, TEXT, BANK, ("evaluate", "tcp", "seed1", "reef")):
        assert study.outcome(study.node(*words), {}) == study.base(study.node(*words), {}, {})


def test_every_field_of_every_key_is_changed_or_named_as_identity_only(study: KeyWorld) -> None:
    methods = {change: study.node(*change.node).config.get("method", "") for change in CHANGES}
    changed = {(change.node[0], of, change.field) for change in CHANGES for of in ("", methods[change])}
    for node in study.session.graph.nodes:
        method = node.config.get("method", "")
        for name in fields_of(node):
            # What an option or a template does is a method's own affair; everything else is alike for all.
            own = node.stage == "tune" and name.partition(".")[0] in ("options", "templates")
            read = (node.stage, method if own else "", name) in changed
            named = reason(node.stage, method, name)
            assert read or named, f"no change of {name} of {node.name} is tried"


def test_nothing_is_named_as_identity_only_that_no_key_has(study: KeyWorld) -> None:
    nodes = study.session.graph.nodes
    for place, fields in IDENTITY_ONLY.items():
        stage, _, method = place.partition("/")
        there = [node for node in nodes if node.stage == stage and method in ("", node.config.get("method"))]
        known = {name for node in there for name in fields_of(node)} | {"sentences_sha256"}
        assert set(fields) <= known | {name.partition(".")[0] for name in known}, place

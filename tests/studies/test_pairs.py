"""Settings that meet: pairwise-complete combinations, each trained for two epochs and held to what is always true."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from atlas_core.plan.execution import run_study
from safetensors.torch import load_file
from torch import Tensor

from atlas_core.backbone.load import load_backbone
from atlas_core.labels.config import supervision_names
from atlas_core.methods.registry import METHODS
from atlas_core.plan.node import Node
from atlas_core.plan.session import StudySession
from atlas_core.stages.evaluate import test_logits as logits_of
from atlas_core.stages.trained_method import build_method, load_method
from atlas_core.training import loop, stack
from tests.studies.pairs import pairwise
from tests.tiny_study import RecordingObserver, TinyWorld, draw_image_folder, make_world, write_yaml

SETTINGS: dict[str, list[Any]] = {
    "method": [name for name in METHODS.names() if METHODS.get(name).learns],
    "supervision": supervision_names(),
    "protocol": ["base_to_new", "few_shot", "cross_dataset", "domain_generalization"],
    "precision": ["fp32"],
    "stop_after": [None, 2],
    "average": [None, {"mean": 4.0, "std": 1.0}],
    "stack": [1, "auto"],
    "views": [1, 2, "epochs"],
    "resume": [False, True],
}
COMBINATIONS = pairwise(SETTINGS, seed=13)
# The first hold most of the pairs, and every value of every setting; the others are run with --slow.
AT_ONCE = 60
EPOCHS = 2
FIXED_TARGETS = {"one_hot", "ls", "tfkd"}


def name_of(combination: dict[str, Any]) -> str:
    return "-".join(str(value).replace(" ", "") for value in combination.values())


CASES = [
    pytest.param(each, id=name_of(each), marks=[] if number < AT_ONCE else [pytest.mark.slow])
    for number, each in enumerate(COMBINATIONS)
]


class Killed(BaseException):
    """As a kill between two epochs: nothing in the program catches it."""


@contextmanager
def killed_once_each(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every training, alone or as a stack, ends after its first checkpoint, which comes after the first epoch."""
    seen: set[Path] = set()

    def dying(save: Any) -> Any:
        def save_and_die(path: Path, *arguments: Any) -> None:
            save(path, *arguments)
            if path not in seen:
                seen.add(path)
                raise Killed

        return save_and_die

    with monkeypatch.context() as patch:
        patch.setattr(loop.Timer, "due", lambda self: True)
        patch.setattr(loop, "save_checkpoint", dying(loop.save_checkpoint))
        patch.setattr(stack, "save_stack", dying(stack.save_stack))
        yield
    assert seen, "nothing was interrupted"


@dataclass
class Trained:
    """A combination's study after it ran."""

    combination: dict[str, Any]
    session: StudySession

    def folder(self, node: Node) -> Path:
        manifest = self.session.states()[node.name].manifest
        assert manifest is not None, f"{node.name} was not made"
        return self.session.resolver.store.path(manifest.stage, manifest.key)

    def runs(self) -> dict[str, Node]:
        return {node.name: node for node in self.session.graph.of_stage("tune")}

    def learned(self) -> dict[str, dict[str, Tensor]]:
        return {
            name: load_file(self.folder(node) / "prompts.safetensors") for name, node in self.runs().items()
        }

    def initial(self, node: Node) -> dict[str, Tensor]:
        """The parameters that a run starts from."""
        inputs = {role: self.folder(each) for role, each in node.inputs.items()}
        return build_method(load_backbone(self.session.study.backbone), node.config, inputs).learned_state()

    def rows(self, node: Node, table: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pq.read_table(self.folder(node) / f"{table}.parquet").to_pylist()
        return found

    def again(self, node: Node, *, trained: bool) -> Tensor:
        """Log-probabilities [N, C] of an evaluation's images by the run as it is loaded from its artifact."""
        inputs = {role: self.folder(each) for role, each in node.inputs.items()}
        clip = load_backbone(self.session.study.backbone)
        templates = node.config["templates"]
        method = load_method(clip, inputs["run"], inputs, templates=templates, trained=trained)
        return torch.cat(list(logits_of(method, clip, inputs))).double().log_softmax(dim=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    """Ponds, its twin under another name, and reef with classes of its own."""
    made = make_world(tmp_path_factory.mktemp("pairs"), images=4)
    write_yaml(made.home / "twin.yaml", {"name": "twin", "layout": "image_folder", "folder": "ponds"})
    draw_image_folder(made.home / "data/reef", images=3, side=40, seed=5, classes=("clown fish", "sea star"))
    write_yaml(made.home / "reef.yaml", {"name": "reef", "layout": "image_folder", "folder": "reef"})
    return made


def train(world: TinyWorld, combination: dict[str, Any], observer: RecordingObserver) -> Trained:
    source, others = (
        str(world.home / "ponds.yaml"),
        [str(world.home / f"{each}.yaml") for each in ("twin", "reef")],
    )
    transfer = combination["protocol"] in ("cross_dataset", "domain_generalization")
    data = {"datasets": [], "source": source, "targets": others} if transfer else {"datasets": [source]}
    stop = combination["stop_after"]
    training = {
        "epochs": EPOCHS if stop is None else 5,
        "stop_after": stop,
        "average": combination["average"],
        "precision": combination["precision"],
        "warmup_epochs": 0,
        "batch_size": 4,
    }
    study = world.study(
        protocol=combination["protocol"],
        methods=[{"name": combination["method"], "training": training}],
        supervisions=[_supervision(combination["supervision"])],
        seeds=[1] if combination["stack"] == 1 else [1, 2],
        views={"per_image": combination["views"], "dtype": "float32"},
        training={},
        **data,
    )
    placement = world.placement.model_copy(update={"stack": combination["stack"]})
    return Trained(combination, run_study(study, placement, observer=observer))


def _supervision(name: str) -> dict[str, Any]:
    """Alternating ones come to their soft labels in the second epoch; self-distillation as strong as the labels."""
    period = {"period": EPOCHS} if name.startswith("atlas_") else {}
    return {"name": name, **period, **({"options": {"m": 1.0}} if name.endswith("tfkd_self") else {})}


def explanation(combination: dict[str, Any], targets: set[str]) -> str:
    """Why the mean loss of the second epoch may be above the first's; empty where it may not."""
    if len(targets) > 1 or not targets <= FIXED_TARGETS:
        return "the epochs have other targets, or one that the start is best for"
    if combination["views"] != 1:
        return "the epochs see other views"
    if combination["method"] == "coprompt":
        return "every step draws a sentence"
    return ""


def test_every_pair_of_values_meets_and_the_first_hold_every_value() -> None:
    for first, second in combinations(SETTINGS, 2):
        wanted = {(str(a), str(b)) for a in SETTINGS[first] for b in SETTINGS[second]}
        assert {(str(each[first]), str(each[second])) for each in COMBINATIONS} == wanted
    for name, values in SETTINGS.items():
        assert {str(each[name]) for each in COMBINATIONS[:AT_ONCE]} == set(map(str, values)), name
    assert pairwise(SETTINGS, seed=13) == COMBINATIONS


@pytest.mark.parametrize("combination", CASES)
def test_what_is_always_true(
    world: TinyWorld, combination: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_trainings(world)
    observer = RecordingObserver()
    trained = train(world, combination, observer)
    assert observer.failed == {}
    learned = trained.learned()
    assert learned
    for name, node in trained.runs().items():
        curves = trained.rows(node, "curves")
        losses = [row["loss"] for row in curves]
        assert len(losses) == EPOCHS
        assert all(map(math.isfinite, losses))
        assert all(bool(each.isfinite().all()) for each in learned[name].values())
        # Two epochs at these rates move parameters a little; an average whose weights miss one shrinks them all.
        start, end = _norm(trained.initial(node)), _norm(learned[name])
        assert end > 0.9 * start, f"parameters of norm {start:.3f} have {end:.3f} after training"
        assert losses[1] < losses[0] or explanation(combination, {row["target"] for row in curves})
    for node in trained.session.graph.of_stage("evaluate"):
        assert_the_reloaded_run_predicts_the_same(trained, node)
    if combination["resume"]:
        forget_trainings(world)
        assert_same(interrupted(world, combination, monkeypatch).learned(), learned)


def assert_the_reloaded_run_predicts_the_same(trained: Trained, node: Node) -> None:
    """As it was stored; and the training classes alike through the door of other class sets, or of another dataset."""
    rows = trained.rows(node, "predictions")
    labels = torch.tensor([row["label"] for row in rows])
    stored = torch.tensor([row["label_log_probability"] for row in rows], dtype=torch.float64)
    own = node.config["trained_classes"]
    for as_trained in (own, False) if own or node.config["target"] == "twin" else (own,):
        found = trained.again(node, trained=as_trained)
        torch.testing.assert_close(found[torch.arange(len(labels)), labels], stored, rtol=1e-5, atol=1e-5)
        assert [row["prediction"] for row in rows] == found.argmax(dim=1).tolist()
    if node.config["target"] == "twin":
        (source,) = (
            each
            for each in trained.session.graph.of_stage("evaluate")
            if each.inputs["run"] is node.inputs["run"] and each.config["target"] == "ponds"
        )
        for one, other in zip(rows, trained.rows(source, "predictions"), strict=True):
            assert {**one, "target": ""} == {**other, "target": ""}


def interrupted(world: TinyWorld, combination: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Trained:
    with killed_once_each(monkeypatch):
        while True:
            try:
                return train(world, combination, RecordingObserver())
            except Killed:
                continue


def forget_trainings(world: TinyWorld) -> None:
    """So that a combination's runs are made as it says, and not found from another's."""
    folder = world.placement.store_path / "tune"
    for artifact in folder.iterdir() if folder.is_dir() else ():
        for file in artifact.rglob("*"):
            if file.is_file():
                file.unlink()
        artifact.rmdir()


def _norm(parameters: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(each.double().square().sum()) for each in parameters.values()))


def assert_same(found: dict[str, dict[str, Tensor]], expected: dict[str, dict[str, Tensor]]) -> None:
    assert found.keys() == expected.keys()
    for run, tensors in expected.items():
        assert found[run].keys() == tensors.keys()
        for name, each in tensors.items():
            assert torch.equal(found[run][name], each), f"{name} of {run}"

"""Every method in both transfer protocols: the target's names and templates, beside a slow reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from atlas_core.plan.execution import run_study
from safetensors.torch import load_file

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.load import load_backbone
from atlas_core.methods.registry import METHODS
from atlas_core.plan.node import Node
from atlas_core.plan.session import StudySession
from atlas_core.stages.items_table import read_items
from atlas_core.stages.pixel_reader import pixel_reader
from tests.methods.slow_predictions import slow_prediction
from tests.methods.text_case import PlainText
from tests.tiny_study import CLASSES, RecordingObserver, draw_image_folder, make_world, write_yaml

METHOD_NAMES = METHODS.names()
REEF_CLASSES = ("sea or lake", "clown fish", "Boeing 737-800")
SHORT = {"epochs": 2, "warmup_epochs": 0, "batch_size": 4, "stop_after": None}

# Every family differs from dataset to dataset, in words and in their number.
TEMPLATES: dict[str, dict[str, str]] = {
    "ponds": {
        "coop": "a photo of a {}.",
        "kgcoop": "a photo of a {}, a type of pond.",
        "prograd": "a photo of a {}.",
        "tcp": "a photo of the {}.",
        "tcp_prompt": "a photo of a {}.",
    },
    "reef": {
        "coop": "a drawing of a {}, a kind of thing.",
        "kgcoop": "an image of a {}.",
        "prograd": "a kind of thing, a drawing of {}.",
        "tcp": "a photo of the thing {}.",
        "tcp_prompt": "X X X X {}, a kind of thing.",
    },
    "frost": {
        "coop": "a sketch of the {}.",
        "kgcoop": "a sketch of one {}.",
        "prograd": "cold {}.",
        "tcp": "a cold {}.",
        "tcp_prompt": "X X X X {} in winter.",
    },
}


WNIDS = ("n02123045", "n02876657", "n03773504", "n04008634", "n04355933", "n04356056")
IMAGENET_NAMES = ("cat", "bottle", "missile", "missile", "sunglass", "sunglass")


@dataclass(frozen=True)
class Finished:
    """A study after it ran, and what its evaluations are compared with."""

    session: StudySession
    plain: PlainText
    observer: RecordingObserver

    def folder(self, node: Node) -> Path:
        manifest = self.session.states()[node.name].manifest
        assert manifest is not None, f"{node.name} was not made"
        return self.session.resolver.store.path(manifest.stage, manifest.key)

    def evaluation(self, method: str, target: str) -> Node:
        (found,) = (
            node
            for node in self.session.graph.of_stage("evaluate")
            if f"/{method}/" in f"{node.name.partition(' on ')[0]}/" and node.config["target"] == target
        )
        return found


@pytest.fixture(scope="module", params=["cross_dataset", "domain_generalization"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """All methods trained on ponds: reef has classes of its own, frost the same ones; both other templates."""
    world = make_world(tmp_path_factory.mktemp("transfer"), images=4)
    draw_image_folder(world.home / "data" / "reef", images=3, side=40, seed=7, classes=REEF_CLASSES)
    draw_image_folder(world.home / "data" / "frost", images=3, side=40, seed=8)
    for name, templates in TEMPLATES.items():
        content = {"name": name, "layout": "image_folder", "folder": name, "templates": templates}
        write_yaml(world.home / f"{name}.yaml", content)
    study = world.study(
        protocol=request.param,
        datasets=[],
        source=str(world.home / "ponds.yaml"),
        targets=[str(world.home / f"{name}.yaml") for name in ("reef", "frost")],
        methods=[_method(name) for name in METHOD_NAMES],
        supervisions=["one_hot"],
        views={"per_image": 1, "dtype": "float32"},
        training={},
    )
    observer = RecordingObserver()
    session = run_study(study, world.placement, observer=observer)
    return Finished(session, PlainText(load_file(world.home / "clip.safetensors")), observer)


def _method(name: str) -> dict[str, Any]:
    return {"name": name, "training": SHORT} if METHODS.get(name).learns else {"name": name}


def test_no_run_failed(finished: Finished) -> None:
    assert finished.observer.failed == {}


@pytest.mark.parametrize("target", ["ponds", "reef", "frost"])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_predictions_are_the_slow_ones_with_the_targets_names_and_templates(
    finished: Finished, method: str, target: str
) -> None:
    # Whoever has the training classes has DePT's head, row by row.
    head = None if target == "reef" else range(len(CLASSES))
    names = assert_slow(finished, method, target, TEMPLATES[target], head)
    assert sorted(names) == sorted(REEF_CLASSES if target == "reef" else CLASSES)


def assert_slow(
    finished: Finished, method: str, target: str, templates: dict[str, str], head: Sequence[int] | None
) -> list[str]:
    """The stored predictions are those of the slow computation; returns the target's class names."""
    node = finished.evaluation(method, target)
    folder, clip = finished.folder(node), load_backbone(BackboneConfig(model="demo"))
    names = [row["class_name"] for row in pq.read_table(folder / "classes.parquet").to_pylist()]
    leaves = load_file(finished.folder(node.inputs["run"]) / "prompts.safetensors")
    pixels = finished.folder(finished.evaluation("maple", target).inputs["pixels"])
    rows = torch.arange(read_items(pixels).num_rows)
    # Only the normalisation of pixels is asked of a backbone here, and it is the same for both.
    images = pixel_reader(pixels, clip)(rows, torch.zeros_like(rows))
    logits = slow_prediction(finished.plain, method, leaves, images, names, templates, rows=head).double()
    table = pq.read_table(folder / "predictions.parquet")
    labels = torch.tensor(table["label"].to_pylist())
    expected = logits.softmax(dim=1)[rows, labels]
    stored = torch.tensor(table["label_probability"].to_pylist(), dtype=torch.float64)
    torch.testing.assert_close(stored, expected, rtol=2e-4, atol=1e-7)
    assert table["prediction"].to_pylist() == logits.argmax(dim=1).tolist()
    return names


def test_depts_head_follows_wordnet_ids_where_imagenets_names_stand_twice(tmp_path: Path) -> None:
    """The variant has the second of both pairs, and its list of names alone would say the first."""
    world = make_world(tmp_path, images=4)
    kept, data = (3, 5), world.home / "data"
    for part in ("train", "val"):
        draw_image_folder(data / "inet/images" / part, images=3, side=40, seed=len(part), classes=WNIDS)
    draw_image_folder(
        data / "variant/images", images=3, side=40, seed=9, classes=[WNIDS[label] for label in kept]
    )
    lines = "".join(f"{wnid} {name}\n" for wnid, name in zip(WNIDS, IMAGENET_NAMES, strict=True))
    for name, layout in (("inet", "imagenet"), ("variant", "imagenet_variant")):
        (data / name / "classnames.txt").write_text(lines)
        content = {"name": name, "layout": layout, "folder": name, "image_folder": "images"}
        write_yaml(world.home / f"{name}.yaml", content)
    study = world.study(
        protocol="domain_generalization",
        datasets=[],
        source=str(world.home / "inet.yaml"),
        targets=[str(world.home / "variant.yaml")],
        methods=[_method("dept_coop"), _method("maple")],
        supervisions=["one_hot"],
        views={"per_image": 1, "dtype": "float32"},
        training={"lr": 0.1, "parameter_lr": {"film": 0.5, "linear": 0.5}},
    )
    observer = RecordingObserver()
    session = run_study(study, world.placement, observer=observer)
    assert observer.failed == {}
    finished = Finished(session, PlainText(load_file(world.home / "clip.safetensors")), observer)
    assert_slow(finished, "dept_coop", "variant", {"coop": "a photo of a {}."}, head=kept)

"""Every method under every supervision: a short real training on the demo backbone that learns and reloads."""

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.load import load_backbone
from atlas_core.config import StudyConfig
from atlas_core.labels.config import supervision_names
from atlas_core.methods.registry import METHODS
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.node import Node
from atlas_core.plan.resolve import NodeState
from atlas_core.plan.session import run_study
from atlas_core.presets import validate_study
from atlas_core.stages.evaluate import test_logits as logits_of
from atlas_core.stages.trained_method import load_method
from tests.tiny_study import RecordingObserver, draw_image_folder, write_yaml

LEARNED = [name for name in METHODS.names() if METHODS.get(name).learns]
EPOCHS = 6


def short_study(home: Path) -> StudyConfig:
    draw_image_folder(home / "data" / "ponds", images=12, side=48, seed=3)
    write_yaml(home / "ponds.yaml", {"name": "ponds", "layout": "image_folder", "folder": "ponds"})
    recipe = {"epochs": EPOCHS, "batch_size": 4, "average": None}
    return validate_study(
        {
            "name": "everything",
            "protocol": "base_to_new",
            "datasets": [str(home / "ponds.yaml")],
            "methods": [{"name": name, "training": recipe} for name in LEARNED],
            "supervisions": [_supervision(name) for name in supervision_names()],
            "shots": [4],
            "seeds": [1],
            "backbone": {"model": "demo"},
            "views": {"per_image": 1},
            "training": {"lr": 0.001},
        },
        "everything",
    )


def _supervision(name: str) -> dict[str, object]:
    """K = 5 lets one-hot labels have epochs 1 to 4 and 6.

    Pure CSL and ISL would start at their optimum. The published weight of self-distillation, 0.95·50·T², makes
    DePT's staged learning rates diverge, so it is 1·T² here.
    """
    if name.endswith(("csl", "isl")):
        return {"name": name, "mix": 0.5}
    return {"name": name, "options": {"m": 1.0}} if name.endswith("tfkd_self") else {"name": name}


class Finished:
    """The study after it ran: its graph, states and store."""

    def __init__(self, home: Path) -> None:
        study, placement = short_study(home), Placement(home=home, workers=2)
        self.observer = RecordingObserver()
        session = run_study(study, placement, observer=self.observer)
        self.store = session.resolver.store
        self.graph: Graph = session.graph
        self.states: dict[str, NodeState] = session.states()

    def folder(self, node: Node) -> Path:
        manifest = self.states[node.name].manifest
        assert manifest is not None
        return self.store.path(manifest.stage, manifest.key)

    def evaluations(self, method: str, supervision: str) -> list[Node]:
        wanted = f"/{method}/{supervision}"
        nodes = self.graph.of_stage("evaluate")
        return [node for node in nodes if f"{wanted}/" in node.name or f"{wanted}(" in node.name]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("everything"))


def test_no_run_failed(finished: Finished) -> None:
    assert finished.observer.failed == {}
    assert len(finished.graph.of_stage("tune")) == len(LEARNED) * len(supervision_names())


@pytest.mark.parametrize("supervision", supervision_names())
@pytest.mark.parametrize("method", LEARNED)
def test_the_loss_is_finite_and_falls(finished: Finished, method: str, supervision: str) -> None:
    run = finished.evaluations(method, supervision)[0].inputs["run"]
    rows = pq.read_table(finished.folder(run) / "curves.parquet").to_pylist()
    assert len(rows) == EPOCHS
    assert all(math.isfinite(row["loss"]) for row in rows)
    # From the first epoch at the full learning rate (and with a matrix, for OLS) to the fourth, all of one target.
    followed = rows[1:4] if supervision.startswith("atlas_") else rows[1:]
    assert len({row["target"] for row in followed}) == 1
    losses = [row["loss"] for row in followed]
    assert min(losses[1:]) < losses[0], f"the loss went {losses}"


@pytest.mark.parametrize("supervision", supervision_names())
@pytest.mark.parametrize("method", LEARNED)
def test_a_reloaded_run_predicts_the_same(finished: Finished, method: str, supervision: str) -> None:
    clip = load_backbone(BackboneConfig(model="demo"))
    for node in finished.evaluations(method, supervision):
        inputs = {role: finished.folder(each) for role, each in node.inputs.items()}
        learner, _ = load_method(clip, inputs["run"], inputs, trained=node.config["trained_classes"])
        again = torch.cat([chunk.argmax(dim=1) for chunk in logits_of(learner, clip, inputs)])
        stored = pq.read_table(finished.folder(node) / "predictions.parquet")["prediction"].to_pylist()
        assert again.tolist() == stored

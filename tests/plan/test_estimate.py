"""What a study will cost: from what its like has cost, else from the shipped model."""

from pathlib import Path

import pytest

from atlas_core.manifest import Manifest, Output
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph, build_graph
from atlas_core.plan.estimate import Costs, estimate, seconds_to_go
from atlas_core.plan.node import Node
from atlas_core.presets import validate_study

STUDY = {
    "name": "mine",
    "protocol": "base_to_new",
    "datasets": ["demo_shapes", "demo_digits"],
    "methods": ["coop", "maple"],
    "supervisions": ["one_hot", "atlas_isl"],
    "seeds": [1],
    "backbone": {"model": "demo"},
}


def graph_of(home: Path, **changed: object) -> Graph:
    return build_graph(validate_study({**STUDY, **changed}, "of the test"), Placement(home=home, workers=1))


def named(graph: Graph, name: str) -> Node:
    return next(node for node in graph.nodes if node.name == name)


def manifest_of(node: Node, seconds: float, size: int = 1000, **parts: object) -> Manifest:
    inputs = {role: f"digest of {each.name}" for role, each in node.inputs.items()}
    key_parts = {"stage": node.stage, "config": node.config, "inputs": inputs, **parts}
    outputs = {"file": Output("0", size, 0)}
    return Manifest(
        node.stage, "key", f"digest of {node.name}", node.name, node.family, key_parts, outputs, seconds, seconds,
        0.0, "host",
    )  # fmt: skip


COOP = "tune/demo_shapes/base/16-shot/coop/one_hot/seed1"
COOP_ISL = "tune/demo_shapes/base/16-shot/coop/atlas_isl/seed1"
COOP_DIGITS = "tune/demo_digits/base/16-shot/coop/one_hot/seed1"
MAPLE = "tune/demo_shapes/base/16-shot/maple/one_hot/seed1"


def test_before_anything_was_measured_the_shipped_model_says_it(tmp_path: Path) -> None:
    graph, costs = graph_of(tmp_path), Costs()
    assert all(costs.seconds(node) > 0 for node in graph.nodes)
    assert all(costs.bytes(node) > 0 for node in graph.nodes)
    assert not any(costs.is_measured(node) for node in graph.nodes)
    assert set(estimate(graph.nodes, costs, 1).shipped) == {node.stage for node in graph.nodes}


def test_what_was_measured_wins_for_its_kind_and_no_other(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    shipped = Costs()
    costs = Costs.from_manifests([manifest_of(named(graph, COOP), 7.0, size=123)])
    for name in (COOP, COOP_ISL):
        assert costs.seconds(named(graph, name)) == pytest.approx(7.0)
        assert costs.bytes(named(graph, name)) == pytest.approx(123)
        assert costs.is_measured(named(graph, name))
    assert costs.seconds(named(graph, MAPLE)) == shipped.seconds(named(graph, MAPLE))
    assert not costs.is_measured(named(graph, MAPLE))


def test_a_dataset_that_was_not_measured_costs_in_proportion_to_what_the_model_says(tmp_path: Path) -> None:
    graph, shipped = graph_of(tmp_path), Costs()
    costs = Costs.from_manifests([manifest_of(named(graph, COOP), 7.0)])
    expected = 7.0 * shipped.seconds(named(graph, COOP_DIGITS)) / shipped.seconds(named(graph, COOP))
    assert costs.seconds(named(graph, COOP_DIGITS)) == pytest.approx(expected)
    costs = Costs.from_manifests(
        [manifest_of(named(graph, COOP), 7.0), manifest_of(named(graph, COOP_DIGITS), 1.0)]
    )
    assert costs.seconds(named(graph, COOP_DIGITS)) == pytest.approx(1.0)
    assert costs.seconds(named(graph, COOP)) == pytest.approx(7.0)


def test_trainings_cost_by_epochs_and_shots(tmp_path: Path) -> None:
    short = graph_of(tmp_path, training={"epochs": 10})
    costs = Costs.from_manifests([manifest_of(named(short, COOP), 2.0)])
    longer = named(graph_of(tmp_path, training={"epochs": 30}), COOP)
    assert costs.seconds(longer) == pytest.approx(6.0, rel=0.2)
    fewer = named(graph_of(tmp_path, shots=[8], training={"epochs": 10}), COOP.replace("16-shot", "8-shot"))
    assert costs.seconds(fewer) == pytest.approx(
        2.0 / 3, rel=0.2
    )  # 56 images make one batch of 32, 112 three


def test_another_backbone_was_not_measured(tmp_path: Path) -> None:
    costs = Costs.from_manifests([manifest_of(named(graph_of(tmp_path), COOP), 7.0)])
    half = named(graph_of(tmp_path, backbone={"model": "demo", "precision": "bf16"}), COOP)
    assert not costs.is_measured(half)


def test_an_evaluation_counts_for_the_backbone_of_its_run(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    name = f"{COOP.replace('tune', 'evaluate')} on demo_shapes/new"
    run = manifest_of(named(graph, COOP), 1.0)
    costs = Costs.from_manifests([manifest_of(named(graph, name), 5.0), run])
    assert costs.seconds(named(graph, name)) == pytest.approx(5.0)
    other = graph_of(tmp_path, backbone={"model": "demo", "precision": "bf16"})
    assert not costs.is_measured(named(other, name))


def test_a_job_that_ended_just_now_counts_at_once_and_says_nothing_of_bytes(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    costs = Costs.from_manifests([manifest_of(named(graph, COOP), 4.0, size=100)])
    costs.expect(graph.nodes)
    assert costs.seconds(named(graph, COOP_ISL)) == pytest.approx(4.0)
    costs.add(COOP, 8.0)
    costs.add("tune/of another study", 100.0)
    assert costs.seconds(named(graph, COOP_ISL)) == pytest.approx(6.0)
    assert costs.bytes(named(graph, COOP_ISL)) == pytest.approx(100)


def test_a_dataset_that_is_there_costs_nothing_to_fetch(tmp_path: Path) -> None:
    graph, costs = graph_of(tmp_path), Costs()
    assert costs.bytes(named(graph, "fetch/demo_shapes")) > 4e6
    (tmp_path / "data" / "demo_shapes").mkdir(parents=True)
    assert costs.bytes(named(graph, "fetch/demo_shapes")) == 0
    assert costs.seconds(named(graph, "fetch/demo_shapes")) == 0


def test_a_stage_that_the_model_does_not_know_is_expected_to_take_no_time() -> None:
    for strange in (Node("theirs", "theirs/demo_shapes", "", {}, {}, ()), Node("tune", "x", "x", {}, {}, ())):
        assert Costs().seconds(strange) == 0
        assert Costs().bytes(strange) == 0
        assert not Costs().is_measured(strange)


def test_manifests_of_another_form_are_passed_over(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    node = named(graph, COOP)
    for parts in (
        {"config": {}},
        {"config": None},
        {"config": {**node.config, "training": "long"}},
        {"inputs": {}},
    ):
        Costs.from_manifests([manifest_of(node, 1.0, **parts)]).seconds(node)
    strange = Node("tune", "x", "x", {}, {}, ())
    assert not Costs.from_manifests([manifest_of(strange, 1.0)]).is_measured(node)


def test_the_time_to_go_is_the_work_shared_out_or_the_longest_chain(tmp_path: Path) -> None:
    graph, costs = graph_of(tmp_path), Costs()
    total = sum(costs.seconds(node) for node in graph.nodes)
    assert seconds_to_go(graph.nodes, costs, 1) == pytest.approx(total)
    assert seconds_to_go(graph.nodes, costs, 0) == pytest.approx(total)
    assert seconds_to_go(graph.nodes, costs, 2) == pytest.approx(total / 2)
    chain = _longest(graph.aggregate, costs)
    assert seconds_to_go(graph.nodes, costs, 10_000) == pytest.approx(chain)
    assert seconds_to_go([], costs, 2) == 0


def _longest(node: Node, costs: Costs) -> float:
    """Independent of the order of nodes."""
    return costs.seconds(node) + max((_longest(each, costs) for each in node.inputs.values()), default=0.0)

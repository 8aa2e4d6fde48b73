"""Time to go, from what its like has cost."""

import pytest

from atlas_core.plan.estimate import Costs, seconds_to_go
from atlas_core.plan.node import Node


def node(stage: str, name: str, **config: object) -> Node:
    full = {"method": "coop", "shots": 16, "training": {"epochs": 10}, **config}
    return Node(stage, name, name, full, {}, ())


def test_nothing_is_promised_before_anything_was_measured() -> None:
    assert seconds_to_go([node("tune", "a")], Costs(), 2) is None


def test_trainings_cost_by_method_epochs_and_shots() -> None:
    known, longer = node("tune", "a"), node("tune", "b", training={"epochs": 30})
    costs = Costs()
    costs.expect([known, longer])
    costs.add("a", 2.0)
    assert costs.seconds(longer) == pytest.approx(6.0)
    assert seconds_to_go([known, longer], costs, 2) == pytest.approx(4.0)


@pytest.mark.parametrize(("stop_after", "seconds"), [(5, 1.0), (None, 2.0), (99, 2.0)])
def test_a_training_costs_the_epochs_that_it_trains(stop_after: int | None, seconds: float) -> None:
    known, stopped = node("tune", "a"), node("tune", "b", training={"epochs": 10, "stop_after": stop_after})
    costs = Costs()
    costs.expect([known, stopped])
    costs.add("a", 2.0)
    assert costs.seconds(stopped) == pytest.approx(seconds)


def test_an_unmeasured_evaluation_does_not_cost_like_a_training() -> None:
    trained, fetched, tested = node("tune", "a"), node("fetch", "f"), node("evaluate", "e")
    costs = Costs()
    costs.expect([trained, fetched, tested])
    costs.add("a", 100.0)
    costs.add("f", 1.0)
    assert seconds_to_go([tested, fetched], costs, 1) == pytest.approx(2.0)

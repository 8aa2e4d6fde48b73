"""What a study will cost, from what its like has cost on this store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from atlas_core.manifest import Manifest
from atlas_core.plan.node import Node
from atlas_core.training.recipe import trained_epochs


@dataclass
class _Total:
    seconds: float = 0.0
    bytes: float = 0.0
    amount: float = 0.0

    def add(self, seconds: float, size: float, amount: float) -> None:
        self.seconds += seconds
        self.bytes += size
        self.amount += amount


@dataclass
class Costs:
    """Measured seconds and bytes by kind of job: the stage, and for trainings also the method.

    A training's cost is counted by epoch and shot, an image bank's by view and shot; other jobs count as one.
    """

    _totals: dict[str, _Total] = field(default_factory=dict)
    _configs: dict[str, tuple[str, float]] = field(default_factory=dict)

    @classmethod
    def from_manifests(cls, manifests: Iterable[Manifest]) -> Costs:
        """Costs of the artifacts in a store."""
        costs = cls()
        for manifest in manifests:
            costs._record(
                _kind(manifest.stage, manifest.key_parts["config"]), manifest.wall_seconds, manifest.bytes
            )
        return costs

    def expect(self, nodes: Iterable[Node]) -> None:
        """Learn the kinds of a study's nodes, so that `add` can be told of them by name."""
        self._configs.update({node.name: _kind(node.stage, node.config) for node in nodes})

    def add(self, name: str, seconds: float) -> None:
        """A job of that name took so long just now."""
        if name in self._configs:
            self._record(self._configs[name], seconds, 0.0)

    def seconds(self, node: Node) -> float | None:
        """Expected seconds of a node, None where nothing of its kind was ever measured."""
        return self._expected(node, "seconds")

    def bytes(self, node: Node) -> float | None:
        """Expected size of a node's artifact in bytes."""
        return self._expected(node, "bytes")

    def _record(self, kind: tuple[str, float], seconds: float, size: float) -> None:
        self._totals.setdefault(kind[0], _Total()).add(seconds, size, kind[1])

    def _expected(self, node: Node, what: str) -> float | None:
        kind, amount = self._configs.get(node.name) or _kind(node.stage, node.config)
        total = self._totals.get(kind)
        return (
            None if total is None or not total.amount else float(getattr(total, what)) / total.amount * amount
        )


def _kind(stage: str, config: dict[str, Any]) -> tuple[str, float]:
    """The kind of a job and its size in that kind's unit."""
    if stage == "tune":
        training = config["training"]
        epochs = trained_epochs(training.get("epochs", 0), training.get("stop_after"))
        return f"tune/{config['method']}", float(max(1, epochs) * max(1, config["shots"]))
    if stage in ("image_features", "pixels"):
        return (
            (f"{stage}/test", 1.0)
            if config["shots"] is None
            else (f"{stage}/train", float(config["shots"] * config["views"]))
        )
    return stage, 1.0


def seconds_to_go(nodes: Iterable[Node], costs: Costs, workers: int) -> float | None:
    """Expected seconds until all nodes are made by that many workers; None where nothing is known yet.

    A training of a kind that was never measured counts like the mean of the other trainings, any other job like
    the mean of the other jobs.
    """
    trainings: list[float | None] = []
    others: list[float | None] = []
    for node in nodes:
        (trainings if node.stage == "tune" else others).append(costs.seconds(node))
    if all(seconds is None for seconds in trainings + others):
        return None
    return (_total(trainings) + _total(others)) / workers


def _total(each: list[float | None]) -> float:
    """Sum with unknown ones at the mean of the known ones."""
    known = [seconds for seconds in each if seconds is not None]
    return sum(known) / len(known) * len(each) if known else 0.0

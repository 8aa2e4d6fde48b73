"""What a study will cost: from what its like has cost on this store, else from the shipped cost model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas_core.manifest import Manifest
from atlas_core.plan.cost_model import CostModel
from atlas_core.plan.cost_numbers import DeviceClass
from atlas_core.plan.job_size import ModelSize, Work, model_size
from atlas_core.plan.node import Node

Kind = tuple[str, ...]

# Stands for the backbone of a job that has none.
_ANY_MODEL = "demo"


@dataclass(frozen=True)
class _Measured:
    work: Work
    seconds: float
    bytes: float | None


@dataclass
class Costs:
    """Expected seconds and bytes of a study's jobs.

    The shipped cost model says how jobs compare, and what was measured on the store corrects it: what jobs of the same
    stage, method, backbone and dataset have cost beside what the model says of them; else those of any dataset; else
    the model stands as it is.

    Attributes:
        device: What the jobs will run on, for the shipped model; what was measured, was measured where it was.
    """

    device: DeviceClass = "cpu"
    _measured: dict[Kind, list[_Measured]] = field(default_factory=dict)
    _nodes: dict[str, Node] = field(default_factory=dict)
    _ratios: dict[tuple[Kind, str], float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._model = CostModel(self.device)

    @classmethod
    def from_manifests(cls, manifests: Iterable[Manifest], device: DeviceClass = "cpu") -> Costs:
        """Costs of the artifacts in a store."""
        costs, found = cls(device), list(manifests)
        backbones = {each.digest: _identity(_config(each)) for each in found if each.stage == "tune"}
        for each in found:
            inputs = each.key_parts.get("inputs", {})
            backbone = _identity(_config(each)) or backbones.get(inputs.get("run", ""), "")
            work = Work(each.stage, each.name, _config(each), tuple(inputs))
            # A dataset's files are no part of the artifact that says where they came from.
            size = None if each.stage == "fetch" else float(each.bytes)
            costs._record(work, backbone, each.wall_seconds, size)
        return costs

    def expect(self, nodes: Iterable[Node]) -> None:
        """Learn a study's nodes, so that `add` can be told of them by name."""
        self._nodes.update({node.name: node for node in nodes})

    def add(self, name: str, seconds: float) -> None:
        """A job of that name took so long just now."""
        if name in self._nodes:
            node = self._nodes[name]
            self._record(_work(node), _backbone_of(node), seconds, None)

    def seconds(self, node: Node) -> float:
        """Expected seconds of a node in one process."""
        if _is_there(node):
            return 0.0
        return self._expected(node, "seconds")

    def bytes(self, node: Node) -> float:
        """Expected size of a node's artifact; of `fetch`, of the dataset, unless its folder is there already."""
        if _is_there(node):
            return 0.0
        return self._expected(node, "bytes")

    def is_measured(self, node: Node) -> bool:
        """Whether `seconds` rests on what such jobs have cost, and not on the shipped model alone."""
        return self._said(node, "seconds") is not None and self._measured_ratio(node, "seconds") is not None

    def _record(self, work: Work, backbone: str, seconds: float, size: float | None) -> None:
        try:
            self._model.seconds(work, model_size(_ANY_MODEL))
            kinds = _kinds(work, backbone)
        except (LookupError, TypeError, ValueError):  # of another version, or tampered with
            return
        for kind in kinds:
            self._measured.setdefault(kind, []).append(_Measured(work, seconds, size))
            for what in ("seconds", "bytes"):
                self._ratios.pop((kind, what), None)

    def _expected(self, node: Node, what: str) -> float:
        said = self._said(node, what)
        if said is None:
            return 0.0
        ratio = self._measured_ratio(node, what)
        return said if ratio is None else said * ratio

    def _said(self, node: Node, what: str) -> float | None:
        """What the model says of a node; None of a stage that it does not know."""
        try:
            return float(getattr(self._model, what)(_work(node), _model_of(node)))
        except (LookupError, TypeError, ValueError):
            return None

    def _measured_ratio(self, node: Node, what: str) -> float | None:
        model = _model_of(node)
        ratios = (self._ratio(kind, what, model) for kind in _kinds(_work(node), _backbone_of(node)))
        return next((ratio for ratio in ratios if ratio is not None), None)

    def _ratio(self, kind: Kind, what: str, model: ModelSize) -> float | None:
        """What jobs of a kind have cost beside what the model says of them; None where none was measured."""
        if (kind, what) not in self._ratios:
            known = [each for each in self._measured.get(kind, ()) if getattr(each, what) is not None]
            said = sum(getattr(self._model, what)(each.work, model) for each in known)
            self._ratios[kind, what] = sum(getattr(each, what) for each in known) / said if said else None
        return self._ratios[kind, what]


def _work(node: Node) -> Work:
    return Work(node.stage, node.name, node.config, tuple(node.inputs))


def _config(manifest: Manifest) -> Mapping[str, Any]:
    config = manifest.key_parts.get("config", {})
    return config if isinstance(config, Mapping) else {}


def _identity(config: Mapping[str, Any]) -> str:
    """The backbone that a configuration names, as one text."""
    backbone = config.get("backbone", "")
    return " ".join(str(backbone[name]) for name in sorted(backbone)) if isinstance(backbone, Mapping) else ""


def _backbone_of(node: Node) -> str:
    return _identity(node.config) or (_identity(node.inputs["run"].config) if "run" in node.inputs else "")


def _model_of(node: Node) -> ModelSize:
    return model_size(node.runtime.get("backbone", {}).get("model", _ANY_MODEL))


def _kinds(work: Work, backbone: str) -> tuple[Kind, Kind]:
    """Kinds that a job belongs to, the narrower one first."""
    detail = ""
    if work.stage in ("tune", "evaluate"):
        detail = work.method
    elif work.stage in ("image_features", "pixels"):
        detail = str(work.config["split"])
    elif work.stage == "fetch":
        detail = str(work.size.generated)
    kind = (work.stage, detail, backbone)
    return (*kind, "" if work.stage == "aggregate" else work.dataset), kind


def _is_there(node: Node) -> bool:
    """Whether a dataset's folder is there, so that `fetch` has nothing to bring."""
    return node.stage == "fetch" and "folder" in node.runtime and Path(node.runtime["folder"]).is_dir()


@dataclass(frozen=True)
class Estimate:
    """What making some nodes costs.

    Attributes:
        seconds: By the clock, on the workers that there are.
        bytes: On the disk.
        shipped: Stages of which the shipped cost model says it, because nothing of their kind was measured here.
    """

    seconds: float
    bytes: float
    shipped: tuple[str, ...]


def estimate(nodes: Iterable[Node], costs: Costs, workers: int) -> Estimate:
    """What making these nodes costs."""
    waiting = list(nodes)
    shipped = {node.stage: None for node in waiting if not costs.is_measured(node)}
    size = sum(costs.bytes(node) for node in waiting)
    return Estimate(seconds_to_go(waiting, costs, workers), size, tuple(shipped))


def seconds_to_go(nodes: Iterable[Node], costs: Costs, workers: int) -> float:
    """Expected seconds until all nodes are made by that many workers (0 is this process): their sum shared out, or
    the longest chain of them that wait for one another, whichever is more.

    Args:
        nodes: Inputs before what uses them, as in a graph.
    """
    total, longest = 0.0, 0.0
    until: dict[str, float] = {}
    for node in nodes:
        own = costs.seconds(node)
        total += own
        until[node.name] = own + max(
            (until.get(each.name, 0.0) for each in node.inputs.values()), default=0.0
        )
        longest = max(longest, until[node.name])
    return max(total / max(1, workers), longest)

"""How close a study's elapsed time comes to its bound: the longest chain of jobs, or all work over the workers.

The studies are made up of stages that wait for known times, so that nothing but the scheduler is measured. One has a
slow download among many quick datasets, one a long training that nothing else needs, one many short jobs. Elapsed time
from the first job's start to the last one's end, in worker processes and on a local Dask cluster of as many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.lanes import DOWNLOADS
from atlas_core.plan.node import Node
from atlas_core.plan.observers import SilentObserver
from atlas_core.plan.resolve import Resolver
from atlas_core.plan.scheduler import Scheduler
from atlas_core.plan.workers import Outcome
from atlas_core.presets import load_study
from atlas_core.stages.execute import JobResult
from atlas_core.stages.stage import STAGES, Stage, StageContext
from atlas_core.store import Store

Row = dict[str, object]

GOAL = 1.10
_ANY_STUDY = load_study("base-to-new-demo")  # a graph has one; these graphs' nodes are not its


def rows(workers: int = 4, quick: bool = False) -> Iterator[Row]:
    """A row for each study and way to run; `quick` takes a third of the time."""
    unit = 0.1 if quick else 0.3
    for cluster in (None, *(("local",) if find_spec("distributed") else ())):
        elapsed_of(
            _chains(0.01, {"a": 0.01, "b": 0.01}, trainings=workers, evaluations=1), workers, cluster
        )  # start
        for name, study in STUDIES.items():
            nodes = study(unit)
            bound = lower_bound(nodes, workers)
            elapsed = elapsed_of(nodes, workers, cluster)
            yield {
                "name": f"{name}, {workers} {'Dask workers' if cluster else 'processes'}",
                "ours_seconds": elapsed,
                "baseline_seconds": bound,
                "baseline": "longest chain, or work / workers",
                "ratio": bound / elapsed,
                "goal": 1 / GOAL,
                "clock": "wall",
                "jobs": len(nodes),
            }


def elapsed_of(nodes: list[Node], workers: int, cluster: str | None) -> float:
    """Seconds from the first job's start to the last one's end, in an empty store."""
    with TemporaryDirectory() as folder:
        placement = Placement(home=Path(folder), workers=workers, dask=cluster)
        graph, spans = Graph(_ANY_STUDY, tuple(nodes)), _Spans()
        resolver = Resolver(graph, Store(placement.store_path))
        Scheduler(graph, resolver, placement, spans, expected=seconds_of).run()
        assert len(spans.of) == len(nodes), "some job failed"
        return max(end for _, end in spans.of) - min(start for start, _ in spans.of)


class _Spans(SilentObserver):
    """When each job started and ended, in seconds since the epoch."""

    def __init__(self) -> None:
        self.of: list[tuple[float, float]] = []

    def done(self, outcome: Outcome) -> None:
        if isinstance(outcome, JobResult) and outcome.account is not None:
            self.of.append((outcome.account.started, outcome.account.started + outcome.account.seconds))


def lower_bound(nodes: list[Node], workers: int) -> float:
    """Seconds that no schedule can go below: the longest chain of jobs, or a lane's work shared by its workers."""
    chains: dict[str, float] = {}
    work = {"network": 0.0, "others": 0.0}
    for node in nodes:
        behind = max((chains[each.name] for each in node.inputs.values()), default=0.0)
        chains[node.name] = behind + seconds_of(node)
        work["network" if node.lane == "network" else "others"] += seconds_of(node)
    return max(max(chains.values()), work["network"] / DOWNLOADS, work["others"] / workers)


def _chains(unit: float, downloads: dict[str, float], trainings: int, evaluations: int) -> list[Node]:
    """The usual graph: each dataset is fetched, indexed, encoded, trained on and tested on."""
    nodes: list[Node] = []
    for name, seconds in downloads.items():
        fetch = _node("fetch", name, seconds, {})
        index = _node("index", name, 0.5 * unit, {"fetch": fetch})
        features = _node("image_features", name, unit, {"index": index})
        nodes += [fetch, index, features]
        for number in range(trainings):
            run = _node("tune", f"{name}/{number}", (1 + number % 3) * unit, {"image_features": features})
            tests = [
                _node("evaluate", f"{name}/{number}/{k}", 0.5 * unit, {"run": run})
                for k in range(evaluations)
            ]
            nodes += [run, *tests]
    return nodes


def _slow_download(unit: float) -> list[Node]:
    quick = {f"quick{number}": unit for number in range(7)}
    return _chains(unit, {"slow": 30 * unit, **quick}, trainings=5, evaluations=2)


def _long_training(unit: float) -> list[Node]:
    nodes = _chains(unit, {f"d{number}": unit for number in range(6)}, trainings=5, evaluations=1)
    features = next(node for node in nodes if node.name.startswith("image_features"))
    return [*nodes, _node("tune", "long", 16 * unit, {"image_features": features})]


def _short_jobs(unit: float) -> list[Node]:
    return _chains(0.3 * unit, {f"d{number}": 0.3 * unit for number in range(4)}, trainings=24, evaluations=2)


STUDIES: dict[str, Callable[[float], list[Node]]] = {
    "one slow download among seven quick ones": _slow_download,
    "one long training beside thirty": _long_training,
    "many short jobs": _short_jobs,
}


def _node(stage: str, label: str, seconds: float, inputs: dict[str, Node]) -> Node:
    """A node that waits, in the lane that a node of that stage has."""
    name = f"{stage}/{label}"
    lane = {"fetch": "network", "index": "processors"}.get(stage, "device")
    return Node("wait", name, name, {"seconds": seconds, "name": name}, inputs, (f"{__name__}:_wait",), {"lane": lane})


def seconds_of(node: Node) -> float:
    """How long a node waits."""
    return float(node.config["seconds"])


def _wait(context: StageContext) -> None:
    time.sleep(context.config["seconds"])
    (context.out / "name").write_text(context.config["name"])


STAGES.register("wait", summary="waits for a known time (of a benchmark)")(Stage(_wait))

"""A study on its way: waves of job groups until nothing is stale or missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from atlas_core.config import StudyConfig
from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph, build_graph
from atlas_core.plan.conflicts import ConflictWatch
from atlas_core.plan.node import Node
from atlas_core.plan.notes import study_notes
from atlas_core.plan.resolve import NodeState, Resolver
from atlas_core.plan.stacks import stack_names
from atlas_core.plan.workers import JobFailure, Outcome, units
from atlas_core.stages.stage import STAGE_ORDER, Job
from atlas_core.store import Store

# A Prefect task run costs some tens of milliseconds (docs/performance.md); a group of short runs shares one.
MAX_GROUP = 64


@dataclass(frozen=True)
class JobGroup:
    """Jobs of one stage that one task runs.

    Attributes:
        label: What they have in common, for people ("digits/base/16-shot/coop").
        cached: Whether all of them are whole in the store already.
    """

    stage: str
    label: str
    jobs: tuple[Job, ...]
    cached: bool

    @property
    def size(self) -> str:
        """ "1 job", "12 jobs"."""
        return f"{len(self.jobs)} job{'s' if len(self.jobs) > 1 else ''}"

    @property
    def key(self) -> str:
        """One key for the group, from its jobs' keys."""
        return sha256_of([self.stage, *sorted(job.key for job in self.jobs)])


@dataclass
class StudySession:
    """One execution of a study.

    Attributes:
        failures: Jobs that failed so far; what depends on them is left out.
    """

    study: StudyConfig
    placement: Placement
    graph: Graph = field(init=False)
    resolver: Resolver = field(init=False)
    failures: list[JobFailure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.graph = build_graph(self.study, self.placement)
        self.resolver = Resolver(self.graph, Store(self.placement.store_path))
        self._watch = ConflictWatch(self.graph, self.placement)
        self._stacks = stack_names(self.graph.nodes) if self.placement.stack != 1 else {}

    def states(self) -> dict[str, NodeState]:
        return self.resolver.states()

    def notes(self) -> list[str]:
        """What the study's user should know, a line each."""
        states = self.states()
        return study_notes(self.graph, states, self._watch.known(states), self.placement)

    def waves(self) -> Iterator[list[JobGroup]]:
        """Groups that can run now, again and again until the study is fresh or nothing more can be made.

        Every node appears once: in a cached group when it was fresh at the start of its wave, else in one to run.

        Raises:
            AtlasError: Something in the study cannot work, known before the first wave or once a dataset is there.
        """
        offered: set[str] = set()
        while True:
            states = self.states()
            self._watch.refuse(states)
            known = offered | {failure.name for failure in self.failures}
            resolved = [
                node
                for node in self.graph.nodes
                if states[node.name].key_parts is not None and node.name not in known
            ]
            if not resolved:
                return
            offered |= {node.name for node in resolved}
            yield self._groups(resolved, states)

    def record(self, outcomes: list[Outcome]) -> None:
        """Note which jobs of a wave failed."""
        self.failures += [outcome for outcome in outcomes if isinstance(outcome, JobFailure)]

    def finish(self) -> str:
        """The key of the study's aggregate.

        Raises:
            AtlasError: Jobs failed; names them.
        """
        if self.failures:
            named = "; ".join(f"{failure.name}: {failure.message}" for failure in self.failures[:5])
            more = f" (and {len(self.failures) - 5} more)" if len(self.failures) > 5 else ""
            raise AtlasError(
                f"{len(self.failures)} of the study's jobs failed: {named}{more}",
                fix="correct the cause and run the study again; everything that was finished is kept",
            )
        manifest = self.states()[self.graph.aggregate.name].manifest
        if manifest is None:
            raise AtlasError(
                f"artifacts of study {self.study.name} disappeared from {self.resolver.store.root} while it ran",
                expected="a store that nobody deletes from during a study",
                fix="run the study again",
            )
        return manifest.key

    def _groups(self, nodes: list[Node], states: dict[str, NodeState]) -> list[JobGroup]:
        gathered: dict[tuple[str, str, bool], list[Job]] = {}
        for node in nodes:
            fresh = states[node.name].status == "fresh"
            group = (node.stage, group_label(node), fresh)
            job = replace(self.resolver.job(node, states), stack=self._stacks.get(node.name, ""))
            gathered.setdefault(group, []).append(job)
        groups = [
            JobGroup(stage, label, part, fresh)
            for (stage, label, fresh), jobs in gathered.items()
            for part in _parts(jobs)
        ]
        return sorted(groups, key=lambda group: STAGE_ORDER.index(group.stage))


def _parts(jobs: list[Job]) -> Iterator[tuple[Job, ...]]:
    """Jobs in parts of at most `MAX_GROUP`; a stack is never cut."""
    part: list[Job] = []
    for unit in units(jobs):
        if len(part) + len(unit) > MAX_GROUP:
            yield tuple(part)
            part = []
        part += [jobs[position] for position in unit]
    if part:
        yield tuple(part)


def group_label(node: Node) -> str:
    """What a node's group has in common: dataset and method of a run, the dataset of anything else."""
    parts = node.name.split(" on ")[0].split("/")[1:]
    if node.stage in ("tune", "evaluate"):
        return "/".join(parts[:4]) if len(parts) > 3 else "/".join(parts)
    return parts[0]

"""Which nodes are fresh, which are stale, which are missing, and which may be made now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from atlas_core.code_digest import code_digests
from atlas_core.hashing import artifact_key, sha256_of
from atlas_core.manifest import ArtifactRef, Manifest
from atlas_core.plan.build import Graph
from atlas_core.plan.collector import without_collection
from atlas_core.plan.node import Node
from atlas_core.stages.stage import LOOKS_OUTSIDE, STAGE_ORDER, STAGES, Job
from atlas_core.store import Store

Status = Literal["fresh", "stale", "missing"]


@dataclass(frozen=True)
class NodeState:
    """What is known of a node.

    Attributes:
        status: fresh: whole in the store under the present key. stale: another version is there. missing: none.
        key_parts: The present key's parts; None while an input is not fresh, because its digest is not known.
        manifest: The fresh artifact's, or None.
        waits_for: Names of the inputs that are not fresh.
    """

    status: Status
    key_parts: dict[str, Any] | None
    manifest: Manifest | None
    waits_for: tuple[str, ...] = ()


@dataclass
class Resolver:
    """Resolves a graph against a store; what was found fresh is not looked up again.

    Attributes:
        outside: Key parts read from outside the store, by stage and node. Given to the resolvers of several studies,
            a folder with a million images is listed once; only where nothing is made meanwhile.
    """

    graph: Graph
    store: Store
    outside: dict[str, str] | None = None
    _fresh: dict[str, NodeState] = field(default_factory=dict)
    _families: dict[str, list[Manifest]] | None = None
    _code: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)

    @without_collection()
    def states(self) -> dict[str, NodeState]:
        """The state of every node by name."""
        states: dict[str, NodeState] = {}
        for node in self.graph.nodes:
            states[node.name] = self._fresh.get(node.name) or self._resolve(node, states)
            if states[node.name].status == "fresh":
                self._fresh[node.name] = states[node.name]
        return states

    def look_up(self, node: Node, states: Mapping[str, NodeState]) -> NodeState:
        """The state of one node, from those of its inputs."""
        state = self._fresh.get(node.name) or self._resolve(node, states)
        if state.status == "fresh":
            self._fresh[node.name] = state
        return state

    def manifests(self) -> list[Manifest]:
        """Every readable manifest of the store, read once."""
        return [each for family in self._versions().values() for each in family]

    def ready_jobs(self, states: dict[str, NodeState]) -> list[Job]:
        """Jobs of nodes that are not fresh and whose inputs all are, by stage."""
        jobs = [
            self.job(node, states)
            for node in self.graph.nodes
            if states[node.name].status != "fresh" and states[node.name].key_parts is not None
        ]
        return sorted(jobs, key=lambda job: STAGE_ORDER.index(job.stage))

    def job(self, node: Node, states: Mapping[str, NodeState]) -> Job:
        """The job that makes a node whose key is known."""
        parts = states[node.name].key_parts
        assert parts is not None
        inputs = {role: _ref(states[each.name]) for role, each in node.inputs.items()}
        runtime = dict(node.runtime)
        if node is self.graph.aggregate:
            runtime |= self._study_artifacts(node, states)
        return Job(node.stage, node.name, node.family, parts, inputs, runtime)

    def family(self, node: Node) -> list[Manifest]:
        """Every version of a node in the store, newest first."""
        return self._versions().get(node.family, [])

    def _versions(self) -> dict[str, list[Manifest]]:
        if self._families is None:
            self._families = _families(self.store)
        return self._families

    def _resolve(self, node: Node, states: Mapping[str, NodeState]) -> NodeState:
        waits = tuple(each.name for each in node.inputs.values() if states[each.name].status != "fresh")
        if waits:
            return NodeState(self._absent(node), None, None, waits)
        stage = STAGES.get(node.stage) if node.stage in LOOKS_OUTSIDE else None
        parts: dict[str, Any] = {
            "stage": node.stage,
            "config": node.config,
            "inputs": {role: _ref(states[each.name]).digest for role, each in node.inputs.items()},
            "code": self._code_of(node),
        }
        if stage is not None and stage.source is not None:
            parts["source"] = self._source(node, stage.source)
        manifest = self.store.lookup(node.stage, artifact_key(parts))
        if manifest is None or (stage and stage.usable and not stage.usable(node.runtime)):
            return NodeState(self._absent(node), parts, None)
        return NodeState("fresh", parts, manifest)

    def _source(self, node: Node, read: Callable[[Mapping[str, Any], Mapping[str, Any]], str]) -> str:
        if self.outside is None:
            return read(node.config, node.runtime)
        place = sha256_of([node.stage, node.config, node.runtime])
        if place not in self.outside:
            self.outside[place] = read(node.config, node.runtime)
        return self.outside[place]

    def _code_of(self, node: Node) -> dict[str, str]:
        """Digests of the node's code, read once: a study runs under one version of the code."""
        if node.modules not in self._code:
            self._code[node.modules] = code_digests(node.modules)
        return self._code[node.modules]

    def _absent(self, node: Node) -> Status:
        return "stale" if self.family(node) else "missing"

    def _study_artifacts(self, aggregate: Node, states: Mapping[str, NodeState]) -> dict[str, Any]:
        made = [node for node in self.graph.nodes if node is not aggregate]
        keys = {node.name: _ref(states[node.name]).key for node in made}
        return {
            "artifacts": list(dict.fromkeys((node.stage, keys[node.name]) for node in made)),
            "evaluations": [
                (keys[each.name], keys[each.inputs["run"].name])
                for each in aggregate.inputs.values()
                if each.stage == "evaluate"
            ],
        }


def _ref(state: NodeState) -> ArtifactRef:
    assert state.manifest is not None
    return state.manifest.ref


def _families(store: Store) -> dict[str, list[Manifest]]:
    found: dict[str, list[Manifest]] = {}
    for manifest in newest_first(store.manifests()):
        found.setdefault(manifest.family, []).append(manifest)
    return found


def newest_first(manifests: Iterable[Manifest]) -> list[Manifest]:
    return sorted(manifests, key=lambda manifest: manifest.created, reverse=True)

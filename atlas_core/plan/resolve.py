"""Which nodes are fresh, stale, missing or pending, and which may be made now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from atlas_core.code.closure import Sources
from atlas_core.code.records import record_code
from atlas_core.hashing import artifact_key, sha256_of
from atlas_core.manifest import ArtifactRef, Manifest
from atlas_core.plan.build import Graph
from atlas_core.plan.collector import without_collection
from atlas_core.plan.node import Node
from atlas_core.stages.stage import LOOKS_OUTSIDE, STAGE_ORDER, STAGES, Job
from atlas_core.store import Store

Status = Literal["fresh", "stale", "missing", "pending"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class NodeState:
    """What is known of a node.

    Attributes:
        status: fresh: whole in the store under the present key. stale: to be made; other versions are there.
            missing: to be made; no version is there. pending: an input is made first, so the key is not known yet,
            and it is that of an artifact that is there if the input comes out as it was.
        key_parts: The present key's parts; None while an input is not fresh, because its digest is not known.
        manifest: The fresh artifact's, or None.
        waits_for: Names of the inputs that are not fresh.
        candidates: Of a pending node: the artifacts that it may turn out to be, newest first.
    """

    status: Status
    key_parts: dict[str, Any] | None
    manifest: Manifest | None
    waits_for: tuple[str, ...] = ()
    candidates: tuple[Manifest, ...] = ()


@dataclass(frozen=True)
class ToMake:
    """How many of a study's artifacts are to be made.

    Attributes:
        surely: Stale and missing ones.
        perhaps: Pending ones: whether they are made is known when their inputs are.
    """

    surely: int
    perhaps: int

    @classmethod
    def of(cls, statuses: Iterable[str]) -> ToMake:
        found = list(statuses)
        return cls(found.count("stale") + found.count("missing"), found.count("pending"))

    def __str__(self) -> str:
        """ "5", "between 5 and 809"."""
        most = self.surely + self.perhaps
        return f"between {self.surely} and {most}" if self.perhaps else str(most)


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
    _by_input: dict[str, list[Manifest]] | None = None
    code: Sources = field(default_factory=Sources)

    def __post_init__(self) -> None:
        # Now, and not when an input is there at last: a study runs under one version of the code.
        for roots in {node.roots: None for node in self.graph.nodes}:
            self.code.digest(roots)

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
        self.store.make()
        record_code(self.store.root, self.code, node.roots)
        inputs = {role: _ref(states[each.name]) for role, each in node.inputs.items()}
        runtime = dict(node.runtime)
        if node.stage == "aggregate":
            runtime |= self._study_artifacts(node, states)
        return Job(node.stage, node.name, node.family, parts, inputs, runtime)

    def family(self, node: Node) -> list[Manifest]:
        """Every version of a node in the store, newest first."""
        return self._versions().get(node.family, [])

    def _versions(self) -> dict[str, list[Manifest]]:
        if self._families is None:
            self._families = _grouped(self.store.manifests(), lambda manifest: manifest.family)
        return self._families

    def known_parts(self, node: Node, states: Mapping[str, NodeState]) -> dict[str, Any]:
        """The parts of a node's key that are known now: all but `source` once its inputs are fresh."""
        fresh = {role: state for role, each in node.inputs.items() if (state := states[each.name]).manifest}
        return {
            "stage": node.stage,
            "config": node.config,
            "inputs": {role: _ref(state).digest for role, state in fresh.items()},
            "code": self.code.digest(node.roots),
        }

    def _resolve(self, node: Node, states: Mapping[str, NodeState]) -> NodeState:
        waits = tuple(each.name for each in node.inputs.values() if states[each.name].status != "fresh")
        if waits:
            candidates = tuple(self._candidates(node, states))
            status: Status = "pending" if candidates else self._absent(node)
            return NodeState(status, None, None, waits, candidates)
        stage = STAGES.get(node.stage) if node.stage in LOOKS_OUTSIDE else None
        parts = self.known_parts(node, states)
        if stage is not None and stage.source is not None:
            parts["source"] = self._source(node, stage.source)
        manifest = self.store.lookup(node.stage, artifact_key(parts))
        if manifest is None or (stage and stage.usable and not stage.usable(node.runtime)):
            return NodeState(self._absent(node), parts, None)
        return NodeState("fresh", parts, manifest)

    def _candidates(self, node: Node, states: Mapping[str, NodeState]) -> list[Manifest]:
        """Artifacts that a node may turn out to be whose inputs are made first: all that is known now agrees.

        They were made for this node, or for one whose inputs were what this one's may come out as (the soft labels of
        two datasets with the same class names are one artifact).
        """
        others = self._made_from(node, states)
        versions = newest_first({each.key: each for each in (*self._made_for(node), *others)}.values())
        known = self.known_parts(node, states) if versions else {}
        return [
            version
            for version in versions
            if version.key_parts.get("code") == known["code"]
            and version.key_parts.get("config") == node.config
            and _digests(version).keys() == node.inputs.keys()
            and all(_digests(version)[role] == digest for role, digest in known["inputs"].items())
            and (version.name == node.name or self._inputs_may_be(node, _digests(version), states))
        ]

    def _made_from(self, node: Node, states: Mapping[str, NodeState]) -> Iterator[Manifest]:
        """Artifacts of the node's configuration with an input that one of the node's may come out as."""
        if self._by_input is None:
            self._by_input = _grouped(self.manifests(), _place_of)
        if self._by_input and node.inputs:
            role = max(node.inputs)
            for digest in self._may_come_out_as(node.inputs[role], states):
                yield from self._by_input.get(_place(node.stage, node.config, role, digest), ())

    def _inputs_may_be(self, node: Node, digests: Mapping[str, str], states: Mapping[str, NodeState]) -> bool:
        return all(digests[role] in self._may_come_out_as(each, states) for role, each in node.inputs.items())

    def _may_come_out_as(self, node: Node, states: Mapping[str, NodeState]) -> set[str]:
        """The digest of a fresh node; of another those that it had before, and of what it may turn out to be."""
        state = states[node.name]
        if state.manifest is not None:
            return {state.manifest.digest}
        return {each.digest for each in (*state.candidates, *self._made_for(node))}

    def _made_for(self, node: Node) -> list[Manifest]:
        return [each for each in self.family(node) if each.name == node.name]

    def _source(self, node: Node, read: Callable[[Mapping[str, Any], Mapping[str, Any]], str]) -> str:
        if self.outside is None:
            return read(node.config, node.runtime)
        place = sha256_of([node.stage, node.config, node.runtime])
        if place not in self.outside:
            self.outside[place] = read(node.config, node.runtime)
        return self.outside[place]

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


def _digests(manifest: Manifest) -> Mapping[str, str]:
    """Digests of an artifact's inputs by role; none of one that was tampered with."""
    digests = manifest.key_parts.get("inputs")
    return digests if isinstance(digests, dict) else {}


def _place_of(manifest: Manifest) -> str:
    digests = _digests(manifest)
    role = max(digests, default="")
    return _place(manifest.stage, manifest.key_parts.get("config", {}), role, digests.get(role, ""))


def _place(stage: str, config: Mapping[str, Any], role: str, digest: str) -> str:
    """What artifacts that may be one another have in common; of the inputs one, which is the run of an evaluation."""
    return f"{stage} {json.dumps(config, sort_keys=True)} {role} {digest}"


def _grouped(manifests: Iterable[Manifest], by: Callable[[Manifest], str]) -> dict[str, list[Manifest]]:
    """Manifests, newest first in each group."""
    found: dict[str, list[Manifest]] = {}
    for manifest in newest_first(manifests):
        found.setdefault(by(manifest), []).append(manifest)
    return found


def newest_first(manifests: Iterable[Manifest]) -> list[Manifest]:
    return sorted(manifests, key=lambda manifest: manifest.created, reverse=True)

"""Why a node is fresh, stale, missing or pending: its key, part by part, beside its newest sibling's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atlas_core.code.records import recorded_code
from atlas_core.errors import AtlasError
from atlas_core.manifest import Manifest
from atlas_core.plan.build import Graph
from atlas_core.plan.node import Node
from atlas_core.plan.resolve import NodeState, Resolver
from atlas_core.registry import unknown_name
from atlas_core.stages.run_id import run_id


@dataclass(frozen=True)
class Difference:
    """One part of a key that is not the same: `field` "config.training.epochs", and both values."""

    field: str
    then: object
    now: object


@dataclass(frozen=True)
class Explanation:
    """Why a node is as it is.

    Attributes:
        manifest: The artifact, where the node is fresh.
        sibling: The newest other version of the node, which it is compared with; None where there is none.
        differences: Parts in which the present key differs from the sibling's.
        causes: For an input that is not fresh: what is wrong with it, deepest cause last.
    """

    name: str
    status: str
    manifest: Manifest | None
    sibling: Manifest | None
    differences: tuple[Difference, ...]
    causes: tuple[str, ...]


def find_node(graph: Graph, states: Mapping[str, NodeState], name: str) -> Node:
    """The node of a run by its name, a unique part of it, a run id or the start of its key.

    Raises:
        AtlasError: No node, or several, answer to the name.
    """
    named = [node for node in graph.nodes if node.name in (name, f"tune/{name}")]
    if not named:
        named = [node for node in graph.nodes if _key_starts(states[node.name], name)]
    if not named:
        parts = name.split()
        named = [node for node in graph.of_stage("tune") if all(part in node.name for part in parts)]
    if not named:
        raise unknown_name(
            "run", name, [node.name.removeprefix("tune/") for node in graph.of_stage("tune")][:40]
        )
    if len(named) > 1:
        names = ", ".join(node.name.removeprefix("tune/") for node in named[:8])
        raise AtlasError(
            f"{len(named)} runs answer to {name!r}: {names}{', …' if len(named) > 8 else ''}",
            expected="one run",
            fix="give more of its name, or its run id",
        )
    return named[0]


def explain(resolver: Resolver, states: Mapping[str, NodeState], node: Node) -> Explanation:
    """Explain a node's state against the newest sibling in the store."""
    state = states[node.name]
    versions = [
        each for each in resolver.family(node) if state.manifest is None or each.key != state.manifest.key
    ]
    same_name = [each for each in versions if each.name == node.name]
    sibling = next(iter(same_name or versions), None)
    sibling = next(iter(state.candidates), sibling)
    differences: tuple[Difference, ...] = ()
    if sibling is not None and state.key_parts is not None:
        then, now = _with_definitions(resolver, node, sibling.key_parts, state.key_parts)
        differences = tuple(key_differences(then, now))
    elif sibling is not None:
        known = resolver.known_parts(node, states)
        then = {part: sibling.key_parts.get(part, {}) for part in known}
        then["inputs"] = {role: then["inputs"].get(role, "absent") for role in known["inputs"]}
        differences = tuple(key_differences(then, known))
    causes = tuple(_causes(resolver, states, node))
    return Explanation(node.name, state.status, state.manifest, sibling, differences, causes)


def key_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Leaves in which two key parts differ, as dotted fields."""
    before, after = dict(_leaves(then)), dict(_leaves(now))
    for field in sorted(before.keys() | after.keys()):
        if before.get(field, "absent") != after.get(field, "absent"):
            yield Difference(field, before.get(field, "absent"), after.get(field, "absent"))


def _with_definitions(
    resolver: Resolver, node: Node, then: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Both key parts with the code's definitions in place of their one digest, where they differ and are recorded."""
    recorded = recorded_code(resolver.store.root, str(then.get("code")))
    present = resolver.code.definitions(node.roots)
    if then.get("code") == now["code"] or recorded is None or recorded == present:
        return then, now
    return {**then, "code": recorded}, {**now, "code": present}


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            # A definition's name has dots of its own: keep it apart from the path that leads to it.
            yield from _leaves(each, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _causes(resolver: Resolver, states: Mapping[str, NodeState], node: Node) -> Iterator[str]:
    """Follow inputs that are not fresh down to the ones that could be made now, and say what is wrong there."""
    by_name = {each.name: each for each in resolver.graph.nodes}
    seen: set[str] = set()
    waiting = list(states[node.name].waits_for)
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if states[name].waits_for:
            waiting.extend(states[name].waits_for)
            continue
        yield f"{name} is {states[name].status}{_first_reason(resolver, states, by_name[name])}"


def _first_reason(resolver: Resolver, states: Mapping[str, NodeState], node: Node) -> str:
    explanation = explain(resolver, states, node)
    if explanation.sibling is None:
        return ": it was never made"
    if not explanation.differences:
        return ": its files are gone or damaged"
    return ": " + "; ".join(readable_difference(each) for each in explanation.differences[:3])


def readable_difference(difference: Difference) -> str:
    """ "code of atlas_core.labels.ols:OnlineSmoothing changed", "config.training.epochs: 50 → 20"."""
    kind, _, rest = difference.field.partition(".")
    if kind == "code" and not rest:
        return "code changed (the store has no record of what it was)"
    if kind == "code":
        verb = {"absent": "is new"}.get(str(difference.then), "changed")
        return f"code of {rest} {'is no longer used' if difference.now == 'absent' else verb}"
    if kind == "inputs":
        return f"content of input {rest} changed"
    if kind == "source":
        return "files in the dataset's folder changed"
    return f"{difference.field}: {difference.then} → {difference.now}"


def _key_starts(state: NodeState, name: str) -> bool:
    return len(name) >= 6 and state.manifest is not None and run_id(state.manifest.key).startswith(name[:16])


def when(manifest: Manifest) -> str:
    """Local time of an artifact's making, to the second."""
    return datetime.fromtimestamp(manifest.created).strftime("%Y-%m-%d %H:%M:%S")

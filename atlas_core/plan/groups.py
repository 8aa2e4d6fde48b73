"""Nodes of a study in groups of one stage: what one Prefect task makes, because a task costs more than a short job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from atlas_core.plan.build import Graph
from atlas_core.plan.node import Node
from atlas_core.plan.stacks import depths_of

# A Prefect task run costs some tens of milliseconds (docs/performance.md); a group of short jobs shares one.
MAX_GROUP = 64


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes of one stage that one task makes.

    Attributes:
        label: What they have in common, for people ("digits/base/16-shot/coop").
        nodes: In an order in which they may be made.
        needs: The other groups that hold inputs of theirs.
    """

    stage: str
    label: str
    nodes: tuple[Node, ...]
    needs: tuple[Group, ...]

    @property
    def size(self) -> str:
        """ "1 job", "12 jobs"."""
        return f"{len(self.nodes)} job{'s' if len(self.nodes) > 1 else ''}"


def groups_of(graph: Graph, stacks: Mapping[str, str]) -> list[Group]:
    """A graph's nodes in groups, those that are needed before those that need them; known before anything is made.

    Args:
        stacks: The stack of each node that is in one, by name; no stack is cut.
    """
    depths = depths_of(graph.nodes)
    gathered: dict[tuple[str, str], list[Node]] = {}
    for node in graph.nodes:
        gathered.setdefault((node.stage, _label(node)), []).append(node)
    parts: list[tuple[str, str, tuple[Node, ...]]] = []
    for (stage, label), nodes in gathered.items():
        # By depth, so that a part of a label's nodes never needs a later one.
        nodes.sort(key=lambda node: depths[node.name])
        parts += [(stage, label, part) for part in _parts(nodes, stacks)]
    part_of = {node.name: number for number, (_, _, part) in enumerate(parts) for node in part}
    needs = {
        number: dict.fromkeys(part_of[each.name] for node in part for each in node.inputs.values())
        for number, (_, _, part) in enumerate(parts)
    }
    for number, needed in needs.items():
        needed.pop(number, None)
    groups: dict[int, Group] = {}
    for number in TopologicalSorter(needs).static_order():
        groups[number] = Group(*parts[number], tuple(groups[each] for each in needs[number]))
    return list(groups.values())


def _parts(nodes: list[Node], stacks: Mapping[str, str]) -> Iterator[tuple[Node, ...]]:
    units: dict[str, list[Node]] = {}
    for node in nodes:
        units.setdefault(stacks.get(node.name, node.name), []).append(node)
    part: list[Node] = []
    for unit in units.values():
        if part and len(part) + len(unit) > MAX_GROUP:
            yield tuple(part)
            part = []
        part += unit
    yield tuple(part)


def _label(node: Node) -> str:
    """Dataset, classes, shots and method of a run; the dataset of anything else."""
    parts = node.name.split(" on ")[0].split("/")[1:]
    if node.stage in ("tune", "evaluate"):
        return "/".join(parts[:4]) if len(parts) > 3 else "/".join(parts)
    return parts[0]

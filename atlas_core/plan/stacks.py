"""Which trainings of a study may share one batch: decided by the study alone, so that a restart decides the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from atlas_core.hashing import sha256_of
from atlas_core.plan.node import Node

# Larger stacks gain little more (docs/performance.md), and smaller ones leave work for every process.
LARGEST_STACK = 8


def stack_family(config: Mapping[str, Any]) -> str:
    """What a training has in common with those it may be stacked with: all but its supervision and seed."""
    common = {name: value for name, value in config.items() if name not in ("supervision", "seed")}
    return sha256_of(common)[:16]


def depths_of(nodes: Iterable[Node]) -> dict[str, int]:
    """Nodes on the longest way to each node from one without inputs, itself counted, by name."""
    depths: dict[str, int] = {}
    for node in nodes:  # inputs come before what uses them
        depths[node.name] = 1 + max((depths[each.name] for each in node.inputs.values()), default=0)
    return depths


def stack_names(nodes: Iterable[Node]) -> dict[str, str]:
    """The stack of each training that may be in one, by the node's name.

    Members have the same depth in the graph, so none waits for another's inputs; and what is in the store already
    plays no part, so a study that was interrupted goes on in the same stacks.
    """
    nodes = list(nodes)
    depths = depths_of(nodes)
    count: dict[str, int] = {}
    names: dict[str, str] = {}
    for node in nodes:
        family = node.runtime.get("stack")
        if family is not None:
            level = f"{family}/{depths[node.name]}"
            names[node.name] = f"{level}/{count.get(level, 0) // LARGEST_STACK}"
            count[level] = count.get(level, 0) + 1
    return names

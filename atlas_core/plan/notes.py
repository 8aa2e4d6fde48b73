"""What a study's user should know before it runs, as plain lines."""

from __future__ import annotations

from collections.abc import Mapping

from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.degenerate_settings import degenerate_settings
from atlas_core.plan.known_datasets import KnownDataset
from atlas_core.plan.remarks import remarks
from atlas_core.plan.resolve import NodeState
from atlas_core.store import Store


def study_notes(
    graph: Graph, states: Mapping[str, NodeState], known: Mapping[str, KnownDataset], placement: Placement
) -> list[str]:
    """A line for each thing that is allowed and seldom meant."""
    store = Store(placement.store_path)
    return [*remarks(graph), *degenerate_settings(graph, states, known, store)]

"""What was understood of a study, before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.parquet_images import is_taken_out
from atlas_core.datasets.readers.base import read_listing
from atlas_core.datasets.reading import Oddity
from atlas_core.errors import AtlasError
from atlas_core.kept_answers import keep_answer, read_answer
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.node import Node
from atlas_core.plan.resolve import NodeState, Resolver
from atlas_core.stages.index import read_summary
from atlas_core.store import Store
from atlas_core.understanding.backbone import BackboneUnderstanding, understand_backbone
from atlas_core.understanding.dataset import (
    FACTS_FORM,
    DatasetUnderstanding,
    LayoutFacts,
    facts_of,
    understand_dataset,
)


@dataclass(frozen=True)
class Understanding:
    """What was understood of a study or of one dataset.

    Attributes:
        study: The study's name; empty for a dataset alone.
        datasets: Those that could be read.
        pending: Names of those that are not here yet, with what will be done about it.
        backbone: None for a dataset alone.
    """

    study: str
    datasets: tuple[DatasetUnderstanding, ...]
    pending: tuple[tuple[str, str], ...] = ()
    backbone: BackboneUnderstanding | None = None

    @property
    def oddities(self) -> list[tuple[str, Oddity]]:
        """(dataset, oddity) of every dataset."""
        return [(dataset.name, each) for dataset in self.datasets for each in dataset.oddities]

    def check_strict(self) -> None:
        """Raise an AtlasError that names every oddity, where there is one."""
        if self.oddities:
            said = "; ".join(f"{name}: {oddity.text}" for name, oddity in self.oddities)
            raise AtlasError(
                f"{len(self.oddities)} oddities: {said}",
                expected="data without them, as --strict asks for",
                fix="correct the data or its description; or leave --strict out, if they are meant",
            )


def understand_study(graph: Graph, states: Mapping[str, NodeState], placement: Placement) -> Understanding:
    """Read each dataset of a study that is here: from its index artifact where it is fresh, else from its layout.

    Args:
        states: What is known of the graph's index nodes.

    Raises:
        AtlasError: A dataset that is here, and that nothing will be fetched for, cannot be read or has two readings.
    """
    store = Store(placement.store_path)
    found, pending = [], []
    for node in graph.of_stage("index"):
        spec = DatasetSpec(**node.runtime["spec"])
        place = spec.path(placement.data_path)
        facts = _facts(node, spec, place, states.get(node.name), store)
        if facts is None:
            pending.append((spec.name, f"not here yet; it will be brought to {place}"))
        else:
            found.append(understand_dataset(spec, place, facts))
    return Understanding(
        graph.study.name, tuple(found), tuple(pending), understand_backbone(graph.study.backbone)
    )


def index_states(graph: Graph, resolver: Resolver) -> dict[str, NodeState]:
    """What is known of a graph's index nodes, without a look at anything that depends on them."""
    states: dict[str, NodeState] = {}
    for node in graph.nodes:
        if node.stage in ("fetch", "index"):
            with suppress(AtlasError):  # a folder that is not there; reading it says so better
                states[node.name] = resolver.look_up(node, states)
    return states


def _facts(
    node: Node, spec: DatasetSpec, place: Path, state: NodeState | None, store: Store
) -> LayoutFacts | None:
    if state is None or state.manifest is None:
        return _read(spec, place)
    # The artifact's key holds the listing of the folder and the code of the reader: what it reads is the same.
    key = state.manifest.key
    kept = read_answer("layout", key, FACTS_FORM)
    if kept is not None:
        return kept
    facts = _read(spec, place) if place.is_dir() else None
    if facts is None:
        return _of_artifact(store.path("index", key))
    keep_answer("layout", key, FACTS_FORM, facts)
    return facts


def _read(spec: DatasetSpec, place: Path) -> LayoutFacts | None:
    if spec.source is not None and not (place.is_dir() and is_taken_out(spec, place)):
        return None
    try:
        return facts_of(read_listing(spec, place))
    except AtlasError:
        if spec.source is None:
            raise
        return None  # what is missing will be fetched; what cannot be fetched is told then


def _of_artifact(folder: Path) -> LayoutFacts:
    summary = read_summary(folder)
    images = {str(split): of_class for split, of_class in summary.images.items()}
    return LayoutFacts(summary.class_names, images)

"""What is known of a study's datasets before anything is run: from their indexes, or from their folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import prompt_name
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.resolve import NodeState
from atlas_core.stages.index import read_summary
from atlas_core.stages.runtime import subset_labels
from atlas_core.store import Store


@dataclass(frozen=True)
class KnownDataset:
    """Classes of a dataset by label, and how many training images each has."""

    name: str
    class_names: tuple[str, ...]
    train_images: tuple[int, ...]

    def names(self, subset: str) -> list[str]:
        """Names of those classes as they stand in a prompt."""
        return [prompt_name(self.class_names[label]) for label in self.labels(subset)]

    def labels(self, subset: str) -> tuple[int, ...]:
        """Labels of the base, the new or all classes."""
        chosen = subset_labels(len(self.class_names), subset)
        return tuple(range(len(self.class_names))) if chosen is None else chosen


def known_datasets(
    graph: Graph,
    states: Mapping[str, NodeState],
    placement: Placement,
    before: Mapping[str, KnownDataset] | None = None,
) -> dict[str, KnownDataset]:
    """By their names in the study. One that is not here, or cannot be read, is not known yet.

    Args:
        states: At least of the indexes that are asked about.
        before: What was known before; it is not read again.
    """
    store = Store(placement.store_path)
    known = dict(before or {})
    for node in graph.of_stage("index"):
        name = node.runtime["spec"]["name"]
        if name in known or node.name not in states:
            continue
        manifest = states[node.name].manifest
        if manifest is not None:
            found = read_summary(store.path("index", manifest.key))
            known[name] = KnownDataset(name, found.class_names, found.images["train"])
        elif (read := _read(DatasetSpec(**node.runtime["spec"]), placement)) is not None:
            known[name] = read
    return known


def _read(spec: DatasetSpec, placement: Placement) -> KnownDataset | None:
    if not spec.path(placement.data_path).is_dir():
        return None
    try:
        index = read_dataset(spec, placement.data_path)
    except (AtlasError, OSError):
        return None  # said by the job that reads it, with everything that is wrong
    of_class = Counter(item.label for item in index.items if item.split == "train")
    images = tuple(of_class[label] for label in range(len(index.class_names)))
    return KnownDataset(spec.name, index.class_names, images)

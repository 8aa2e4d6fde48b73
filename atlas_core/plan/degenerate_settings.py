"""Settings whose numbers say nothing, told before they are made; the tables leave them out of averages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from atlas_core.evaluation.chance import at_chance
from atlas_core.plan.build import Graph
from atlas_core.plan.known_datasets import KnownDataset
from atlas_core.plan.resolve import NodeState
from atlas_core.store import Store

_LEFT_OUT = "its rows are marked and in no average"


def degenerate_settings(
    graph: Graph, states: Mapping[str, NodeState], known: Mapping[str, KnownDataset], store: Store
) -> list[str]:
    """A line for each dataset and kind: one class on a side, more shots than images, zero-shot CLIP at chance.

    The third is known once a zero-shot evaluation is in the store.
    """
    return [*_one_class(graph, known), *_few_images(graph, known), *_at_chance(graph, states, store)]


def _one_class(graph: Graph, known: Mapping[str, KnownDataset]) -> Iterator[str]:
    sides: dict[str, dict[str, None]] = {}
    for node in graph.of_stage("evaluate"):
        dataset, subset = node.config["target"], node.config["subset"]
        if dataset in known and len(known[dataset].labels(subset)) == 1:
            sides.setdefault(dataset, {})[subset] = None
    for dataset, subsets in sides.items():
        number = len(known[dataset].class_names)
        alone = " and ".join(f"1 {subset} class" for subset in subsets)
        yield f"{dataset} has {number} classes, so {alone}: every answer there is right, and {_LEFT_OUT}"


def _few_images(graph: Graph, known: Mapping[str, KnownDataset]) -> Iterator[str]:
    seen: dict[tuple[str, str], set[int]] = {}
    for node in graph.of_stage("tune"):
        if node.config["supervision"] is not None:
            place = (node.config["dataset"], node.config["subset"])
            seen.setdefault(place, set()).add(node.config["shots"])
    for (dataset, subset), shots in seen.items():
        if dataset not in known:
            continue
        found = known[dataset]
        images = {label: found.train_images[label] for label in found.labels(subset)}
        fewest = min(images, key=lambda label: images[label])
        too_many = sorted(each for each in shots if each > images[fewest])
        if too_many:
            yield (
                f"{dataset} has {images[fewest]} training images of {found.class_names[fewest]!r}, fewer than "
                f"{', '.join(map(str, too_many))} shots: that class is trained on all of them, and {_LEFT_OUT}"
            )


def _at_chance(graph: Graph, states: Mapping[str, NodeState], store: Store) -> Iterator[str]:
    from atlas_core.evaluation.measures import (
        evaluation_row,  # planning a study that was never run does without it
    )

    for node in graph.of_stage("evaluate"):
        manifest = states[node.name].manifest if node.name in states else None
        if manifest is None or node.inputs["run"].config["method"] != "zero_shot":
            continue
        metrics = evaluation_row(store.path("evaluate", manifest.key))
        if at_chance(metrics["accuracy"], metrics["n_classes"]):
            yield (
                f"zero-shot CLIP has {metrics['accuracy']:.1f} % on {node.config['target']}/{node.config['subset']}, "
                f"no better than guessing among {metrics['n_classes']} classes (are their names right?): {_LEFT_OUT}"
            )

"""How soft the soft labels of a study are, as far as they have been made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.softness import Softness, read_softness
from atlas_core.plan.build import Graph
from atlas_core.plan.node import Node
from atlas_core.plan.resolve import NodeState
from atlas_core.plan.run import supervision_parameters
from atlas_core.store import Store

_STAGES = ("csl", "isl")


@dataclass(frozen=True)
class SoftLabels:
    """Soft labels of one kind on one training set, the mean over seeds.

    Attributes:
        source: "csl" or "isl".
        place: Training set, such as "digits/base", with what else tells them apart.
        supervisions: The supervisions that train with them, each with its ε; none that has another form.
    """

    source: str
    place: str
    softness: Softness
    supervisions: Mapping[str, float]

    @property
    def line(self) -> str:
        """ "isl digits/train/base/16-shot: entropy 0.52 nats, 0.81 on the true class, 0.15 on the next three"."""
        found = self.softness
        return (
            f"{self.source} {self.place}: entropy {found.entropy:.2g} nats, {found.true_mass:.4g} on the true class,"
            f" {found.top3_mass:.2g} on the next three (temperature {found.temperature:.4g})"
        )


def soft_labels(graph: Graph, states: Mapping[str, NodeState], store: Store) -> list[SoftLabels]:
    """Those that are in the store, in the order of the graph."""
    found: dict[tuple[str, str], list[Softness]] = {}
    for stage in _STAGES:
        for node in graph.of_stage(stage):
            manifest = states[node.name].manifest
            if manifest is not None:
                found.setdefault(_place(node), []).append(read_softness(store.path(stage, manifest.key)))
    using: dict[tuple[str, str], dict[str, float]] = {}
    for node in graph.of_stage("tune"):
        for role in _STAGES:
            if role in node.inputs:
                config = SupervisionConfig.model_validate(node.config["supervision"])
                if config.mix is not None:
                    label = config.label + supervision_parameters(config)
                    using.setdefault(_place(node.inputs[role]), {})[label] = config.mix
    return [SoftLabels(*place, _mean(measured), using.get(place, {})) for place, measured in found.items()]


def nearly_one_hot(found: list[SoftLabels]) -> Iterator[str]:
    """A line for each supervision whose target differs from one-hot by less than 1 % of its mass on average."""
    places: dict[str, dict[str, float]] = {}
    for each in found:
        for label, mix in each.supervisions.items():
            if each.softness.nearly_one_hot(mix):
                places.setdefault(label, {})[each.place] = each.softness.mass_off_class(mix)
    for label, masses in places.items():
        least, most = (f"{100 * each:.2g} %" for each in (min(masses.values()), max(masses.values())))
        share = least if least == most else f"{least} to {most}"
        yield (
            f"{label} is nearly one-hot on {', '.join(masses)}: its soft targets have {share} of their mass on other"
            " classes, so it trains like one_hot (set a lower `temperature` or a larger `mix`)"
        )


def _place(node: Node) -> tuple[str, str]:
    """What a node's soft labels have in common with those of other seeds: its name without its own."""
    return node.stage, re.sub(r"/seed\d+", "", node.name.removeprefix(f"{node.stage}/"))


def _mean(measured: list[Softness]) -> Softness:
    fields = ("temperature", "entropy", "true_mass", "top3_mass")
    return Softness(*(fmean(getattr(each, field) for each in measured) for field in fields))

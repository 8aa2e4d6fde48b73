"""What a study's plan says in words before anything runs: runs that are not what their name promises."""

from __future__ import annotations

from atlas_core.methods.registry import method_traits
from atlas_core.plan.build import Graph
from atlas_core.plan.short_trainings import short_trainings


def remarks(graph: Graph) -> list[str]:
    """A line for each kind of run that a reader of its results has to know something about."""
    return [*short_trainings(graph), *stand_ins(graph)]


def stand_ins(graph: Graph) -> list[str]:
    """A line for each method whose runs lack something that its authors had."""
    found: dict[str, None] = {}
    for node in graph.of_stage("tune"):
        method, reference = node.config["method"], node.inputs.get("reference")
        words = method_traits(method).stand_in(reference.config if reference else {})
        if words:
            found[f"{method} trains with {words}"] = None
    return list(found)

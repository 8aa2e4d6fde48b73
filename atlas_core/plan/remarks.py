"""What a study's plan says in words before anything runs: runs that are not what their name promises."""

from __future__ import annotations

from atlas_core.plan.build import Graph
from atlas_core.plan.short_trainings import short_trainings
from atlas_core.training.recipe import Recipe


def remarks(graph: Graph) -> list[str]:
    """A line for each kind of run that a reader of its results has to know something about."""
    return [*short_trainings(graph), *warm_up_alone(graph), *stand_ins(graph)]


def warm_up_alone(graph: Graph) -> list[str]:
    """A line for each method whose training ends before its warm-up does, so that it hardly leaves its start."""
    found: dict[str, None] = {}
    for node in graph.of_stage("tune"):
        recipe = Recipe.model_validate(node.config["training"])
        if 0 < recipe.trained_epochs <= recipe.warmup_epochs:
            trained, method = recipe.trained_epochs, node.config["method"]
            line = f"{method} trains {trained} of {recipe.warmup_epochs} warm-up epochs and no other: its learning rate"
            line += f" stays at {recipe.warmup_lr:g} (set more `epochs` or `warmup_epochs: 0`)"
            found[line] = None
    return list(found)


def stand_ins(graph: Graph) -> list[str]:
    """A line for each method whose runs lack something that its authors had."""
    words: dict[str, str] = graph.aggregate.config.get("stand_ins", {})
    found = {
        f"{node.config['method']} trains with {words[node.name]}"
        for node in graph.of_stage("tune")
        if node.name in words
    }
    return sorted(found)

"""Trainings that end before their first epoch with soft labels."""

from __future__ import annotations

from atlas_core.labels.config import SupervisionConfig
from atlas_core.plan.build import Graph
from atlas_core.training.recipe import Recipe


def short_trainings(graph: Graph) -> list[str]:
    """A line for each method and length whose alternating supervisions never come to their soft labels.

    With fewer than K epochs there is no epoch e with e mod K = 0, so such a run is its method's one_hot run, and its
    row of a table says nothing about soft labels. (MaPLe's two epochs of cross-dataset transfer under K = 5 are such.)
    """
    found: dict[tuple[str, int, int], dict[str, None]] = {}
    for node in graph.of_stage("tune"):
        if node.config["supervision"] is None:
            continue
        supervision = SupervisionConfig.model_validate(node.config["supervision"])
        epochs = Recipe.model_validate(node.config["training"]).trained_epochs
        if supervision.period is not None and supervision.period > epochs:
            labels = found.setdefault((node.config["method"], epochs, supervision.period), {})
            labels[supervision.label] = None
    return [
        f"{method} trains {epochs} epochs, fewer than K = {period}: no epoch of {', '.join(labels)} has soft labels"
        " (set a smaller `period` or more `epochs`)"
        for (method, epochs, period), labels in found.items()
    ]

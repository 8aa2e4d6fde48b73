"""Runs that train as one stack beside the same runs one after the other: CPU seconds of a step and run.

CoOp with 4 context tokens on the 10 classes of EuroSAT, batch 32, with ViT-B/16's text tower (random weights) and
with the demo's small one, whose steps are mostly overhead. One thread; medians over the steps after the first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

import torch

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.load import load_backbone
from atlas_core.bench.clocks import one_thread, peak_gigabytes
from atlas_core.bench.text_tower import LAND_USE
from atlas_core.bench.training_step import build, epoch_seconds, random_clip, view_bank
from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.training.data import TrainingData
from atlas_core.training.randomness import stream
from atlas_core.training.recipe import Recipe
from atlas_core.training.stack import Member, train_stack

Row = dict[str, object]
_SIZES = (1, 3, 8, 24)


def rows(repeats: int = 7) -> Iterator[Row]:
    """Both towers with 1, 3, 8 and 24 runs, about a minute of CPU time."""
    demo = load_backbone(BackboneConfig(model="demo"))
    with one_thread():
        yield from backbone_rows("ViT-B/16", random_clip()[1], LAND_USE, _SIZES, repeats)
        # Steps of milliseconds: more of them for a steady median.
        yield from backbone_rows("demo", demo, LAND_USE, _SIZES, 8 * repeats)


def backbone_rows(
    label: str, clip: FrozenClip, names: tuple[str, ...], sizes: tuple[int, ...], repeats: int
) -> Iterator[Row]:
    """A row a stack size; the baseline, one run alone, is measured right before each."""
    for size in sizes:
        members, recipe = [member(clip, names, seed) for seed in range(size)], recipe_of(clip, names)
        single = member(clip, names, 0)
        alone = median(epoch_seconds(single.method, single.data, recipe, repeats + 1)[1:])
        together = median(stack_seconds(members, recipe, repeats + 1)[1:])
        memory = peak_gigabytes(lambda: stack_seconds(members, recipe, 1))  # noqa: B023
        yield {
            "name": f"{label}, {len(names)} classes: a step of {size} stacked runs, each",
            "ours_seconds": together / size,
            "baseline": "the run alone",
            "baseline_seconds": alone,
            "peak_gigabytes": memory,
        }


def member(clip: FrozenClip, names: tuple[str, ...], seed: int) -> Member:
    """A run with a seed of its own, one-hot labels."""
    method, recipe = build(clip, "coop", names)
    labels = torch.randint(len(names), (recipe.batch_size,), generator=stream(seed, "labels"))
    one_hot = SupervisionConfig.model_validate("one_hot")
    supervisor = Supervisor.from_config(one_hot, FrozenTargets(len(names)))
    return Member(method, TrainingData(labels, view_bank(clip, len(labels), views=4)), supervisor, seed)


def recipe_of(clip: FrozenClip, names: tuple[str, ...]) -> Recipe:
    """CoOp's recipe in base-to-new."""
    recipe: Recipe = build(clip, "coop", names)[1]
    return recipe


def stack_seconds(members: list[Member], recipe: Recipe, epochs: int) -> list[float]:
    """CPU seconds of each epoch of a stack; with as many images as a batch has, of each step."""
    ticks = [time.process_time()]
    short = recipe.model_copy(update={"epochs": epochs, "stop_after": None})
    last = len(members) - 1
    train_stack(
        members,
        short,
        on_epoch=lambda number, _: ticks.append(time.process_time()) if number == last else None,
    )
    return [end - start for start, end in pairwise(ticks)]

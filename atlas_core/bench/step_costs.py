"""A training step of every method on both backbones: what data/costs.yaml is made from.

Random images, and random weights of ViT-B/16's size: their values do not change the cost. CPU seconds of one thread,
of an epoch of one batch in the real training loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.load import load_backbone
from atlas_core.bench.clocks import one_thread
from atlas_core.bench.cost_curves import class_names
from atlas_core.bench.training_step import build, epoch_seconds, random_clip, random_images, view_bank
from atlas_core.methods.registry import METHODS
from atlas_core.training.data import TrainingData

Row = dict[str, object]

_CLASSES = (10, 50)


def rows(repeats: int = 3) -> Iterator[Row]:
    """Every method that learns, about five minutes of CPU time."""
    with one_thread():
        for backbone, clip in (
            ("demo", load_backbone(BackboneConfig(model="demo"), "cpu")),
            ("ViT-B/16", random_clip()[1]),
        ):
            for name in METHODS.names():
                if METHODS.get(name).learns:
                    for classes in _CLASSES:
                        label = f"{name}, {classes} classes, {backbone}"
                        yield {"name": label, "ours_seconds": step_seconds(clip, name, classes, repeats)}


def step_seconds(clip: FrozenClip, name: str, classes: int, repeats: int) -> float:
    """CPU seconds of one step of a method with its published batch, the median after the first."""
    method, recipe = build(clip, name, class_names(classes))
    images, labels = random_images(clip, recipe.batch_size, classes)
    bank = view_bank(clip, recipe.batch_size, views=2 * (repeats + 1))
    prompts_images = METHODS.get(name).image_input == "pixels"
    data = TrainingData(labels, bank, pixels=(lambda rows, views: images) if prompts_images else None)
    return median(epoch_seconds(method, data, recipe, repeats + 1)[1:])

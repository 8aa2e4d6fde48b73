"""How the cost of a CoOp step grows with classes, context tokens and runs, and of an evaluation with images.

    python -m atlas_core.bench.cost_curves [--figure FILE.png]

`rows()` gives the measurements to `atlas bench`. ViT-B/16's text tower with random weights; CPU seconds of one thread,
medians over steps. Only what a curve's axis names changes along it; the rest is 50 classes, 4 context tokens, one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch
from matplotlib.figure import Figure

from atlas_core.backbone.clip import FrozenClip
from atlas_core.bench.clocks import cpu_seconds, one_thread
from atlas_core.bench.stacked_runs import member, recipe_of, stack_seconds
from atlas_core.bench.text_tower import FLOWERS, LAND_USE
from atlas_core.bench.training_step import build, epoch_seconds, random_clip, view_bank
from atlas_core.training.data import TrainingData
from atlas_core.training.randomness import stream

Row = dict[str, object]

_CLASSES, _CONTEXT, _RUNS = (2, 10, 50, 100, 200, 400), (1, 2, 4, 8, 16, 32), (1, 2, 4, 8)
_IMAGES = (1_000, 5_000, 10_000, 50_000)
AXES = {
    "classes": "classes",
    "context": "context tokens",
    "runs": "runs of 10 classes in a stack",
    "images": "test images of 1,000 classes",
}


def rows(repeats: int = 3) -> Iterator[Row]:
    """A row a point of a curve, about two minutes of CPU time."""
    clip = random_clip()[1]
    with one_thread():
        for classes in _CLASSES:
            yield _row("classes", classes, step_seconds(clip, class_names(classes), 4, repeats))
        for n_ctx in _CONTEXT:
            yield _row("context", n_ctx, step_seconds(clip, FLOWERS, n_ctx, repeats))
        for runs in _RUNS:
            members = [member(clip, LAND_USE, seed) for seed in range(runs)]
            seconds = stack_seconds(members, recipe_of(clip, LAND_USE), repeats + 1)[1:]
            yield _row("runs", runs, median(seconds))
        for images in _IMAGES:
            yield _row("images", images, logits_seconds(images, repeats))


def class_names(count: int) -> tuple[str, ...]:
    """That many distinct names of about 5 tokens, the flowers' first."""
    return tuple(f"{FLOWERS[index % 50]}{'' if index < 50 else f' {index // 50}'}" for index in range(count))


def step_seconds(clip: FrozenClip, names: Sequence[str], n_ctx: int, repeats: int) -> float:
    """CPU seconds of one CoOp step of the training loop, the median after the first."""
    method, recipe = build(clip, "coop", tuple(names), n_ctx=n_ctx, ctx_init="")
    labels = torch.randint(len(names), (recipe.batch_size,), generator=stream(1, "labels"))
    data = TrainingData(labels, view_bank(clip, len(labels), views=repeats + 1))
    return median(epoch_seconds(method, data, recipe, repeats + 1)[1:])


def logits_seconds(images: int, repeats: int) -> float:
    """CPU seconds of the logits of cached features [N, 512] for 1,000 classes."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, 512, generator=generator)
    classes = torch.randn(1_000, 512, generator=generator)
    return median(cpu_seconds(lambda: features @ classes.T) for _ in range(repeats + 1))


def _row(axis: str, value: int, seconds: float) -> Row:
    return {"name": f"{value:,} {AXES[axis]}", "ours_seconds": seconds, "axis": axis, "value": value}


def draw(measured: Sequence[Row], path: Path) -> None:
    """One panel an axis: seconds over its values, both logarithmic, beside growth in proportion."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    panels = figure.subplots(1, len(AXES))
    for panel, (axis, label) in zip(panels, AXES.items(), strict=True):
        points = [
            (float(str(row["value"])), float(str(row["ours_seconds"])))
            for row in measured
            if row["axis"] == axis
        ]
        values, seconds = zip(*points, strict=True)
        panel.loglog(values, seconds, marker="o", color="#2b6cb0", label="measured")
        proportional = [seconds[-1] * value / values[-1] for value in values]
        panel.loglog(values, proportional, linestyle=":", color="#888888", label="in proportion")
        ticks = [values[0], values[len(values) // 2], values[-1]]
        panel.set_xticks(ticks, [f"{value:,.0f}" for value in ticks])
        panel.set_yticks([seconds[0], seconds[-1]], [f"{each:.3g} s" for each in (seconds[0], seconds[-1])])
        panel.minorticks_off()
        panel.set_xlabel(label)
        panel.grid(alpha=0.3)
        panels[0].legend(frameon=False)
    figure.suptitle("CPU seconds", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--figure", type=Path, help="draw the curves into this file")
    arguments = parser.parse_args()
    measured = []
    for row in rows():
        measured.append(row)
        print(f"{row['name']}: {float(str(row['ours_seconds'])):.4f} s")
    if arguments.figure:
        draw(measured, arguments.figure)


if __name__ == "__main__":
    main()

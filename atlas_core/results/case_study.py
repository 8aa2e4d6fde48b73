"""Images beside their soft labels (figure 3 of the paper): what CSL and ISL say that a one-hot label does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlas_core.errors import AtlasError
from atlas_core.results.figure_style import BLUE, GREEN, GREY, ink
from atlas_core.shown import shown

Images = Sequence[npt.NDArray[np.generic]]
Distributions = npt.NDArray[np.floating]


def soft_label_figure(
    images: Images,
    labels: Sequence[int],
    class_names: Sequence[str],
    csl: Distributions,
    isl: Distributions,
    *,
    top: int = 5,
) -> Figure:
    """One row an image: the image, the largest probabilities of its class-wise and its instance-wise soft label.

    Args:
        images: n pictures `[height, width, 3]` (or `[height, width]`), uint8 or floats in 0..1.
        labels: n true classes in 0..C-1.
        class_names: C names.
        csl: `[n, C]`, the class-wise soft label of each image (the row of its class).
        isl: `[n, C]`, its instance-wise soft label.
        top: Bars a panel; the true class is always among them.

    Raises:
        AtlasError: Shapes that do not belong together, or rows that are no distributions.
    """
    expected = (len(images), len(class_names))
    if not len(images) or len(labels) != len(images):
        raise AtlasError(
            f"{len(labels)} labels for {len(images)} images", expected="one for each, at least one"
        )
    for name, table in (("csl", csl), ("isl", isl)):
        if table.shape != expected:
            raise AtlasError(f"{name} of shape {tuple(table.shape)}", expected=f"{expected}: images, classes")
        if (table < 0).any() or not np.allclose(table.sum(axis=1), 1, atol=1e-3):
            raise AtlasError(f"rows of {name} that are no distributions", expected="rows ≥ 0 with sum 1")
    bars = min(top, len(class_names))
    figure = Figure(figsize=(8.4, 0.7 + len(images) * (0.27 * bars + 0.45)), layout="constrained")
    axes = figure.subplots(len(images), 3, squeeze=False, width_ratios=(0.8, 1, 1))
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        picture, class_wise, instance_wise = axes[row]
        picture.imshow(image, cmap="gray" if image.ndim == 2 else None)
        picture.set_title(shown(class_names[label]), loc="left")
        picture.set_axis_off()
        _bars(class_wise, csl[row], label, class_names, bars, GREEN)
        _bars(instance_wise, isl[row], label, class_names, bars, BLUE)
    axes[0, 1].set_title("CSL (of its class)", loc="left")
    axes[0, 2].set_title("ISL (of this image)", loc="left")
    axes[-1, 1].set_xlabel("probability")
    axes[-1, 2].set_xlabel("probability")
    return figure


def top_classes(distribution: npt.NDArray[np.floating], label: int, top: int) -> list[int]:
    """The `top` most probable classes, best first; the true class takes the last place if it is not among them."""
    best = [int(k) for k in np.argsort(-distribution, kind="stable")[:top]]
    return best if label in best else [*best[: top - 1], label]


def _bars(
    panel: Axes,
    distribution: npt.NDArray[np.floating],
    label: int,
    class_names: Sequence[str],
    top: int,
    color: str,
) -> None:
    classes = top_classes(distribution, label, top)
    places = range(len(classes))
    values = [float(distribution[k]) for k in classes]
    colors = [color if k == label else GREY for k in classes]
    panel.barh(places, values, color=colors, height=0.7)
    panel.set_yticks(places, [_short(class_names[k]) for k in classes])
    for text, k in zip(panel.get_yticklabels(), classes, strict=True):
        text.set_fontweight("bold" if k == label else "normal")
    for place, value in zip(places, values, strict=True):
        panel.text(value + 0.02, place, f"{value:.2f}" if value >= 0.005 else "<0.01", va="center", color=ink(),
                   fontsize=9.5)  # fmt: skip
    panel.invert_yaxis()
    panel.set_xlim(0, 1.15)
    panel.set_xticks([0, 0.5, 1])
    panel.grid(visible=False)


def _short(name: str, longest: int = 22) -> str:
    name = shown(name)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"

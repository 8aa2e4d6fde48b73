"""The convergence analysis as a figure: variance and κ along one training, loss and gradient norm by schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlas_core.results.figure_style import in_order, panels, spoken, stroke

Rows = Sequence[Mapping[str, Any]]


def convergence_figure(gradients: Rows) -> Figure:
    """Four panels: gradient variance and κ by target along the one-hot training (or the first one there is);
    the one-hot loss and its full gradient's norm by schedule.

    Args:
        gradients: Rows as `measure_convergence` makes them.
    """
    schedules = in_order({str(row["schedule"]) for row in gradients})
    along = "one_hot" if "one_hot" in schedules else schedules[0]
    figure, axes = panels(4, columns=2, width=4.2, height=3.1)
    of_training = [row for row in gradients if row["schedule"] == along]
    for target in in_order({str(row["target"]) for row in of_training}):
        rows = [row for row in of_training if row["target"] == target]
        _line(axes[0], rows, "variance", target)
        _line(axes[1], rows, "kappa", target)
    plain = [row for row in gradients if row["target"] == "one_hot"]
    for schedule in schedules:
        rows = [row for row in plain if row["schedule"] == schedule]
        _line(axes[2], rows, "loss", schedule)
        _line(axes[3], rows, "gradient_norm", schedule)
    titles = (
        f"Gradient variance by target, {spoken(along)} training",
        "κ: variance over one-hot's",
        "One-hot loss by schedule",
        "Norm of its full gradient by schedule",
    )
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, loc="left")
        panel.set_xlabel("epoch")
    # Variance, ratio and norm are read against nothing; the losses lie close together, far from 0.
    for panel in (axes[0], axes[1], axes[3]):
        panel.set_ylim(bottom=0)
    handles = {
        label: handle
        for panel in axes
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    return figure


def _line(panel: Axes, rows: Rows, field: str, name: str) -> None:
    panel.plot(
        [row["epoch"] for row in rows],
        [row[field] for row in rows],
        label=spoken(name),
        **stroke(name).line(),
    )

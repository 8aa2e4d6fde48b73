"""Figures of how models behave: calibration, training, and where the time goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import duckdb
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlas_core.results.arms import main_arms, method_rank, supervision_rank
from atlas_core.results.figure_style import (
    BLUE,
    GREEN,
    GREY,
    MOST_PANELS,
    ViewRow,
    in_order,
    ink,
    legend_below,
    methods_of,
    panels,
    rows_of,
    spoken,
    stroke,
)


def reliability_figure(con: duckdb.DuckDBPyConnection) -> Figure:
    """Reliability diagrams on new classes (or what there is), all datasets and seeds together, a panel an arm."""
    rows = rows_of(con, "SELECT * FROM calibration")
    groups = [
        ("base_to_new", "new"),
        ("cross_dataset", "all"),
        ("domain_generalization", "all"),
        ("few_shot", "all"),
    ]
    present = {(row["protocol"], row["subset"]) for row in rows}
    protocol, subset = next(group for group in groups if group in present)
    rows = main_arms(
        [row for row in rows if (row["protocol"], row["subset"]) == (protocol, subset)], apart=("shots",)
    )
    rows = [row for row in rows if protocol in ("base_to_new", "few_shot") or row["target"] != row["dataset"]]
    first = next((method for method in methods_of(rows) if method != "zero_shot"), "zero_shot")
    shots = max(row["shots"] for row in rows)
    chosen = [
        row for row in rows if row["method"] == "zero_shot" or (row["method"], row["shots"]) == (first, shots)
    ]
    supervisions = in_order({row["supervision"] for row in chosen})
    figure, axes = panels(len(supervisions), columns=4, width=2.45, height=2.6)
    for panel, supervision in zip(axes, supervisions, strict=True):
        _reliability(panel, [row for row in chosen if row["supervision"] == supervision], supervision)
    axes[0].set_ylabel("accuracy")
    words = {"new": "new classes", "all": "all classes"}[subset]
    figure.suptitle(f"{first}, {protocol.replace('_', '-')}, {words}", x=0.01, ha="left", fontsize=11)
    return figure


def _reliability(panel: Axes, rows: Sequence[ViewRow], supervision: str) -> None:
    counts: dict[int, float] = defaultdict(float)
    correct: dict[int, float] = defaultdict(float)
    confidence: dict[int, float] = defaultdict(float)
    for row in rows:
        counts[row["bin"]] += row["count"]
        correct[row["bin"]] += row["count"] * row["accuracy"]
        confidence[row["bin"]] += row["count"] * row["confidence"]
    total = sum(counts.values())
    error = sum(abs(confidence[k] - correct[k]) for k in counts) / total
    color = stroke(supervision).color
    bins = sorted(counts)
    panel.bar(
        [(k - 0.5) / 15 for k in bins], [correct[k] / counts[k] for k in bins], width=1 / 15,
        color=color, alpha=0.75, edgecolor=ink(), linewidth=0.4,
    )  # fmt: skip
    panel.plot([0, 1], [0, 1], color=ink(), linestyle=":", linewidth=1)
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.set_xticks([0, 0.5, 1])
    panel.set_yticks([0, 0.5, 1])
    panel.set_xlabel("confidence")
    panel.set_title(f"{spoken(supervision)}\nECE {100 * error:.1f} %", loc="left", fontsize=10)


def training_curves_figure(con: duckdb.DuckDBPyConnection) -> Figure:
    """Mean training loss by epoch, a panel a dataset; a marker is an epoch with soft targets."""
    rows = rows_of(
        con,
        "SELECT c.epoch, c.loss, c.target AS labels, r.* FROM curves AS c JOIN "
        "(SELECT DISTINCT ON (run_id) * EXCLUDE (epochs), 1 AS variant FROM runs ORDER BY run_id, protocol) AS r "
        "USING (run_id)",
    )
    first = methods_of(rows)[0]
    of_method = [row for row in rows if row["method"] == first]
    protocol = of_method[0]["protocol"]
    for wanted in ("base_to_new", "few_shot"):
        protocol = wanted if any(row["protocol"] == wanted for row in of_method) else protocol
        if protocol == wanted:
            break
    shots = max(row["shots"] for row in of_method if row["protocol"] == protocol)
    chosen = main_arms([row for row in of_method if (row["protocol"], row["shots"]) == (protocol, shots)])
    datasets = sorted({row["dataset"] for row in chosen})[:MOST_PANELS]
    figure, axes = panels(len(datasets), columns=3, width=3.1, height=2.6)
    for panel, dataset in zip(axes, datasets, strict=True):
        of_dataset = [row for row in chosen if row["dataset"] == dataset]
        for supervision in in_order({row["supervision"] for row in of_dataset}):
            _curve(panel, [row for row in of_dataset if row["supervision"] == supervision], supervision)
        panel.set_title(dataset, loc="left")
        panel.set_xlabel("epoch")
    axes[0].set_ylabel("training loss")
    figure.suptitle(f"{first}, {protocol.replace('_', '-')}, {shots} shots", x=0.01, ha="left", fontsize=11)
    legend_below(figure, axes[0])
    return figure


def _curve(panel: Axes, rows: Sequence[ViewRow], supervision: str) -> None:
    losses: dict[int, list[float]] = defaultdict(list)
    soft = set()
    for row in rows:
        losses[row["epoch"]].append(row["loss"])
        if row["labels"] != "one_hot":
            soft.add(row["epoch"])
    epochs = sorted(losses)
    # A source alone is soft in every epoch: markers everywhere would say nothing.
    marked = [k for k, epoch in enumerate(epochs) if epoch in soft] if len(soft) < len(epochs) else []
    panel.plot(
        epochs, [sum(losses[epoch]) / len(losses[epoch]) for epoch in epochs], label=spoken(supervision),
        markevery=marked, **stroke(supervision).line(),
    )  # fmt: skip


def runtime_figure(con: duckdb.DuckDBPyConnection) -> Figure:
    """Seconds by stage (soft labels beside training), and a training's mean by method and supervision."""
    stages = rows_of(con, "SELECT * FROM stage_runtime WHERE wall_seconds > 0 ORDER BY wall_seconds")
    runs = rows_of(
        con,
        "SELECT method, supervision, sum(total_wall_seconds) / sum(n_runs) AS wall FROM runtime GROUP BY ALL",
    )
    runs.sort(
        key=lambda row: (method_rank(row["method"]), supervision_rank(row["supervision"])), reverse=True
    )
    figure, axes = panels(2, columns=2, width=4.4, height=0.26 * max(len(stages), len(runs)) + 0.7)
    # Dots: on a logarithmic axis the length of a bar means nothing.
    for place, row in enumerate(stages):
        color = {"csl": GREEN, "isl": BLUE, "tune": ink()}.get(row["stage"], GREY)
        axes[0].plot(row["wall_seconds"], place, marker="o", color=color)
        text = f"  {row['wall_seconds']:.3g} s"
        axes[0].annotate(text, (row["wall_seconds"], place), va="center", fontsize=9.5)
    axes[0].set_yticks(range(len(stages)), [row["stage"] for row in stages])
    axes[0].set_xscale("log")
    axes[0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[0].margins(x=0.35, y=0.15)
    axes[0].set_xlabel("seconds, all artifacts of a stage (log)")
    names = [f"{row['method']}, {spoken(row['supervision'])}" for row in runs]
    axes[1].barh(
        names, [row["wall"] for row in runs], color=[stroke(row["supervision"]).color for row in runs]
    )
    axes[1].set_xlabel("seconds a training, mean")
    for panel in axes:
        panel.grid(visible=False, axis="y")
        panel.grid(visible=True, axis="x")
    return figure

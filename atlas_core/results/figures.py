"""The paper's figures, drawn from the views."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
from matplotlib.figure import Figure

from atlas_core.errors import AtlasError
from atlas_core.registry import unknown_name
from atlas_core.results.arms import main_arms, method_rank, row_rank
from atlas_core.results.database import query
from atlas_core.results.diagnostic_figures import reliability_figure, runtime_figure, training_curves_figure
from atlas_core.results.figure_style import (
    GREY,
    MOST_PANELS,
    SKY,
    VERMILION,
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

AVERAGE = "average"


def supervision_figure(con: duckdb.DuckDBPyConnection) -> Figure:
    """New-class accuracy of every supervision by dataset, a panel a method (figures 1 and 5 of the paper)."""
    rows = main_arms(rows_of(con, "SELECT * FROM base_to_new"))
    methods = methods_of(rows)
    learned = [method for method in methods if method != "zero_shot"]
    figure, axes = panels(len(learned), columns=1, width=8.4, height=2.9)
    for panel, method in zip(axes, learned, strict=True):
        chosen = [row for row in rows if row["method"] in (method, "zero_shot")]
        places = [*sorted({row["dataset"] for row in chosen} - {AVERAGE}), AVERAGE]
        supervisions = in_order({row["supervision"] for row in chosen})
        for number, supervision in enumerate(supervisions):
            of_arm = {row["dataset"]: row for row in chosen if row["supervision"] == supervision}
            shift = 0.62 * ((number + 0.5) / len(supervisions) - 0.5)
            shown = [(k + shift, of_arm[place]) for k, place in enumerate(places) if place in of_arm]
            looks = {**stroke(supervision).line(), "linestyle": "none"}
            panel.errorbar(
                [x for x, _ in shown], [row["new"] for _, row in shown],
                yerr=[row["new_std"] or 0.0 for _, row in shown],
                label=spoken(supervision), capsize=2, elinewidth=1, **looks,
            )  # fmt: skip
        panel.axvspan(len(places) - 1.5, len(places) - 0.5, color=GREY, alpha=0.12, linewidth=0)
        panel.set_xticks(range(len(places)), places, rotation=25 if len(places) > 6 else 0)
        panel.set_xlim(-0.5, len(places) - 0.5)
        panel.set_ylabel("new classes, accuracy %")
        panel.set_title(method, loc="left")
    legend_below(figure, axes[0], columns=6)
    return figure


def few_shot_figure(con: duckdb.DuckDBPyConnection) -> Figure:
    """Accuracy by number of shots (figure 4): the average of each method, and each dataset of the first two."""
    rows = main_arms(rows_of(con, "SELECT * FROM few_shot"), apart=("shots",))
    learned = [method for method in methods_of(rows) if method != "zero_shot"]
    places = sorted({row["dataset"] for row in rows}, key=lambda place: (place != AVERAGE, place))
    wanted = [
        (method, place) for method in learned for place in places if len(learned) <= 2 or place == places[0]
    ]
    wanted = wanted[:MOST_PANELS]
    figure, axes = panels(len(wanted), columns=3, width=3.1, height=2.7)
    for panel, (method, place) in zip(axes, wanted, strict=True):
        chosen = [row for row in rows if row["method"] == method and row["dataset"] == place]
        for supervision in in_order({row["supervision"] for row in chosen}):
            line = sorted(
                (row for row in chosen if row["supervision"] == supervision), key=lambda row: row["shots"]
            )
            panel.errorbar(
                [row["shots"] for row in line], [row["accuracy"] for row in line],
                yerr=[row["accuracy_std"] or 0.0 for row in line],
                label=spoken(supervision), capsize=2, elinewidth=1, **stroke(supervision).line(),
            )  # fmt: skip
        for row in rows:
            if row["method"] == "zero_shot" and row["dataset"] == place:
                panel.axhline(row["accuracy"], color=GREY, linestyle=":", label="zero-shot CLIP")
        shots = sorted({row["shots"] for row in chosen})
        panel.set_xscale("log", base=2)
        panel.set_xticks(shots, [str(each) for each in shots])
        panel.minorticks_off()
        panel.set_title(f"{method}, {place}" if len(learned) > 1 else place, loc="left")
        panel.set_xlabel("shots")
    axes[0].set_ylabel("accuracy %")
    legend_below(figure, axes[0])
    return figure


def ablation_figure(con: duckdb.DuckDBPyConnection) -> Figure:
    """Base, new and H along K, epsilon and the temperature, a panel a factor, method and label source."""
    rows = rows_of(con, f"SELECT * FROM ablation WHERE dataset = '{AVERAGE}'")
    lines: dict[tuple[str, str, str], list[ViewRow]] = defaultdict(list)
    for row in rows:
        lines[row["factor"], row["method"], row["source"]].append(row)
    order = {"period": 0, "mix": 1, "temperature": 2}
    wanted = sorted(lines, key=lambda key: (order[key[0]], method_rank(key[1]), key[2]))[:MOST_PANELS]
    headings = {"period": "K", "mix": "ε", "temperature": "temperature"}
    figure, axes = panels(len(wanted), columns=3, width=3.1, height=2.7)
    for panel, key in zip(axes, wanted, strict=True):
        factor, method, source = key
        line = sorted(
            _one_line(lines[key], factor), key=lambda row: -1.0 if row["value"] is None else row["value"]
        )
        names = [_written(row["value"]) for row in line]
        for measure, label, color, marker in (
            ("base", "base", SKY, "s"), ("new", "new", VERMILION, "o"), ("h", "H", ink(), "D"),
        ):  # fmt: skip
            panel.plot(
                range(len(line)), [row[measure] for row in line], label=label, color=color, marker=marker
            )
        panel.set_xticks(range(len(line)), names)
        panel.set_xlabel(headings[factor])
        panel.set_title(f"{method}, {source}", loc="left")
    axes[0].set_ylabel("accuracy %")
    legend_below(figure, axes[0])
    return figure


FIGURES: dict[str, tuple[Callable[[duckdb.DuckDBPyConnection], Figure], str, str]] = {
    "supervision-comparison": (
        supervision_figure, "SELECT 1 FROM base_to_new WHERE method <> 'zero_shot'",
        "Accuracy on new classes by supervision; bars are one standard deviation over seeds (ddof 0).",
    ),
    "few-shot": (
        few_shot_figure, "SELECT 1 FROM few_shot WHERE method <> 'zero_shot'",
        "Accuracy by number of shots; bars are one standard deviation over seeds (ddof 0).",
    ),
    "ablation": (
        ablation_figure, "SELECT 1 FROM ablation",
        "Average accuracy along K, ε and the temperature; K = 1 is the source alone, K = ∞ is one-hot.",
    ),
    "reliability": (
        reliability_figure, "SELECT 1 FROM calibration",
        "Reliability diagrams: accuracy in 15 bins of confidence, all datasets and seeds together; on the dotted "
        "line confidence is right.",
    ),
    "training-curves": (
        training_curves_figure, "SELECT 1 FROM curves",
        "Training loss by epoch, mean over seeds; a marker is an epoch with soft targets.",
    ),
    "runtime": (
        runtime_figure, "SELECT 1 FROM runtime",
        "Time by stage and time of a training.",
    ),
}  # fmt: skip


def available_figures(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Names of the figures that the results can fill."""
    return [name for name, (_, needs, _) in FIGURES.items() if query(con, f"{needs} LIMIT 1").num_rows]


def build_figure(name: str, con: duckdb.DuckDBPyConnection) -> Figure:
    """The figure of that name; draw it through `figure_style.save_figure` or `inline_svg` for its theme.

    Raises:
        AtlasError: No such figure (with suggestions), or no result that it could show.
    """
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    draw, needs, _ = FIGURES[name]
    if not query(con, f"{needs} LIMIT 1").num_rows:
        raise AtlasError(f"no results for the figure {name!r}", fix="run a study first: `atlas run STUDY`")
    return draw(con)


def _one_line(rows: Sequence[ViewRow], factor: str) -> list[ViewRow]:
    """Of several settings of the fixed factors, the one with most values."""
    fixed = [name for name in ("mix", "temperature", "shots", "backbone", "variant") if name != factor]
    if factor != "period":
        fixed += ["period", "supervision"]
    groups: dict[tuple[Any, ...], list[ViewRow]] = defaultdict(list)
    for row in sorted(rows, key=row_rank):
        groups[tuple(row[name] for name in fixed)].append(row)
    return max(groups.values(), key=len)


def _written(value: float | None) -> str:
    if value is None:
        return "default"
    return "∞" if math.isinf(value) else f"{value:g}"

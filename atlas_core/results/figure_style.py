"""How figures look: colour-blind-safe colours, readable type, and one drawing for light and dark pages."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlas_core.results.arms import method_rank, supervision_rank
from atlas_core.results.database import query

# Okabe and Ito's palette; a supervision keeps its colour and marker in every figure. Ink is the text's colour.
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, GREY = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#6E6E6E",
)  # fmt: skip
INK = "ink"
_SOURCES = {
    "none": (GREY, "P"), "one_hot": (INK, "X"), "ls": (ORANGE, "s"), "tfkd": (PURPLE, "^"),
    "tfkd_self": (PURPLE, "<"), "ols": (VERMILION, "v"), "csl": (GREEN, "o"), "isl": (BLUE, "D"),
}  # fmt: skip
_OTHER = (SKY, "h")

_TYPE = {
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "legend.fontsize": 10,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "savefig.dpi": 150,
    # A dollar sign in a class name is a dollar sign.
    "text.parse_math": False,
}
# A page replaces these by its own colours, whatever they are.
_PAGE_INK, _PAGE_GRID, _PAGE_PAPER = "#010203", "#040506", "#070809"


@dataclass(frozen=True)
class Theme:
    """Colours of text, grid and background."""

    ink: str
    grid: str
    background: str

    def settings(self) -> dict[str, Any]:
        """matplotlib's settings for this theme."""
        inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        backgrounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
        return {
            **_TYPE,
            **dict.fromkeys(inked, self.ink),
            **dict.fromkeys(backgrounds, self.background),
            "grid.color": self.grid,
        }


LIGHT = Theme("#1a1a1a", "#dddddd", "white")
DARK = Theme("#e8e8e8", "#3a3a3a", "#16181d")
_PAGE = Theme(_PAGE_INK, _PAGE_GRID, _PAGE_PAPER)

Draw = Callable[[], Figure]
ViewRow = dict[str, Any]

MOST_PANELS = 12


@dataclass(frozen=True)
class Stroke:
    """How a supervision is drawn: sources by colour and marker, alternation by a full line and marker."""

    color: str
    marker: str
    linestyle: str
    filled: bool

    def line(self) -> dict[str, Any]:
        """Keyword arguments for `Axes.plot` and `Axes.errorbar`."""
        face = self.color if self.filled else matplotlib.rcParams["axes.facecolor"]
        return {
            "color": self.color, "marker": self.marker, "linestyle": self.linestyle,
            "markerfacecolor": face, "markeredgecolor": self.color,
        }  # fmt: skip


def stroke(supervision: str) -> Stroke:
    """A supervision's looks; reads the theme's ink, so call it while drawing."""
    source = supervision.removeprefix("atlas_")
    color, marker = _SOURCES.get(source, _OTHER)
    alternating = source != supervision
    full = alternating or source == "one_hot"
    return Stroke(ink() if color == INK else color, marker, "-" if full else "--", full)


def ink() -> str:
    """The theme's colour of text."""
    return str(matplotlib.rcParams["text.color"])


def in_order(supervisions: set[str]) -> list[str]:
    """Supervisions in the order of the tables."""
    return sorted(supervisions, key=supervision_rank)


def panels(n: int, *, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of n panels in rows of `columns`; `width` and `height` are of one panel, in inches."""
    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    # Room for the legend under the panels and for the title above them.
    figure = Figure(figsize=(width * columns, height * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[n:]:
        unused.set_visible(False)
    return figure, list(axes[:n])


def legend_below(figure: Figure, axes: Axes, columns: int = 5) -> None:
    """One legend for all panels, under them."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)))


def save_figure(draw: Draw, stem: Path, theme: Theme = LIGHT) -> list[Path]:
    """Write `<stem>.svg` and `<stem>.png` and return their paths; the same data gives the same bytes.

    Args:
        draw: Makes the figure; called inside the theme.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    settings: Any = {**theme.settings(), "svg.fonttype": "path", "svg.hashsalt": stem.name}
    with matplotlib.rc_context(settings):
        figure = draw()
        # The layout is solved once, not again for every file.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        paths = [stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")]
        figure.savefig(paths[0], metadata={"Date": None, "Creator": None})
        figure.savefig(paths[1], metadata={"Software": None})
    return paths


def inline_svg(draw: Draw, name: str) -> str:
    """The figure as an `<svg>` element for a page: text stays text; colours follow the page.

    Ink is `currentColor`, the grid `var(--grid)`, the background `var(--paper)`.

    Args:
        name: Unique in the page; ids inside the drawing are made from it.
    """
    out = io.StringIO()
    settings: Any = {**_PAGE.settings(), "svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        draw().savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    # Ids like figure_1 are in every drawing; a page with two of them would have each twice.
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    svg = re.sub(r'\bid="([^"]+)"', lambda found: f'id="{name}-{found[1]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{name}-{found[1]})", svg)
    svg = re.sub(
        r'href="#([^"]+)"', lambda found: f'href="#{name}-{found[1]}"' if found[1] in ids else found[0], svg
    )
    svg = svg.replace(_PAGE_INK, "currentColor").replace(_PAGE_GRID, "var(--grid)")
    return svg.replace(_PAGE_PAPER, "var(--paper)")


def rows_of(con: duckdb.DuckDBPyConnection, sql: str) -> list[ViewRow]:
    """A query's rows as dicts, floats to nine digits: DuckDB's threads add in any order, a drawing has one."""
    return [
        {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}
        for row in query(con, sql).to_pylist()
    ]


def methods_of(rows: Iterable[ViewRow]) -> list[str]:
    """Methods in the order of the tables."""
    return sorted({row["method"] for row in rows}, key=method_rank)


def spoken(supervision: str) -> str:
    """A supervision as people write it."""
    if supervision.startswith("atlas_"):
        return f"ATLaS {supervision.removeprefix('atlas_').upper()}"
    names = {"none": "zero-shot CLIP", "one_hot": "one-hot", "tfkd": "TF-KD", "tfkd_self": "TF-KD self"}
    return names.get(supervision, supervision.upper())

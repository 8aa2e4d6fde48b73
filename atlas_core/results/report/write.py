"""One self-contained HTML file: tables, verdicts, figures, runs with their `why`, plan, configuration, versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from atlas_core.own_files import ANOTHER_OUTPUT, written_to
from atlas_core.results.comparisons import compare, load_pairs
from atlas_core.results.figure_style import inline_svg
from atlas_core.results.figures import FIGURES, available_figures, build_figure
from atlas_core.results.formatting import signed
from atlas_core.results.report.content import (
    PLAN_STATUSES,
    cards,
    collapse_warning,
    run_rows,
    stage_rows,
    table_views,
)
from atlas_core.results.report.soft_labels import LABELS, NUMBERS, one_hot_warning, soft_label_rows
from atlas_core.results.tables import PROTOCOL_TITLES
from atlas_core.shown import shown

_FOLDER = Path(__file__).resolve().parent
RUN_LABELS = ("protocol", "dataset", "method", "supervision", "setting")
RUN_NUMBERS = ("shots", "seed", "trained on %", "not seen %", "final loss", "seconds")


@dataclass(frozen=True)
class PlanRow:
    """An artifact of the study's plan.

    Attributes:
        status: cached (was in the store before the last run), made, stale, missing or pending.
        seconds: What it took to make; None where it was never made.
        bytes: Its size on disk.
        created: When it was made.
    """

    stage: str
    name: str
    status: str
    seconds: float | None = None
    bytes: int | None = None
    created: str = ""

    @property
    def seconds_text(self) -> str:
        return "" if self.seconds is None else f"{self.seconds:.2f}"

    @property
    def megabytes(self) -> str:
        return "" if self.bytes is None else f"{self.bytes / 1e6:.2f}"


@dataclass(frozen=True)
class ReportFigure:
    """A figure from elsewhere; `svg` is inserted as it is and must come from `figure_style.inline_svg`."""

    id: str
    svg: str
    caption: str


def write_report(
    con: duckdb.DuckDBPyConnection,
    plan: Sequence[PlanRow],
    configuration: Mapping[str, str],
    versions: Mapping[str, str],
    whys: Mapping[str, str],
    out_path: Path,
    *,
    title: str = "ATLaS report",
    subtitle: str = "",
    understood: Mapping[str, str] | None = None,
    extra_figures: Sequence[ReportFigure] = (),
) -> Path:
    """Write the report; it loads nothing from anywhere and every text in it is escaped.

    Args:
        con: The study's results (`database.connect`).
        plan: Artifacts and whether they were cached; may be empty.
        configuration: Name -> text (YAML) of each study.
        versions: Package -> version.
        whys: Run name or run id -> why the run is as it is, as lines of text.
        understood: Name -> what was understood of each study, as lines of text.
        out_path: The HTML file; replaced in one step.

    Raises:
        AtlasError: The file cannot be written.
    """
    soft_labels = soft_label_rows(con)
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=page_text,
    )
    html = environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        css=_asset("page.css"),
        js=_asset("page.js"),
        cards=cards(con),
        collapsed=collapse_warning(con),
        tables=table_views(con),
        verdicts=_verdicts(con),
        soft_labels=soft_labels,
        soft_label_labels=LABELS,
        soft_label_numbers=NUMBERS,
        nearly_one_hot=one_hot_warning(con),
        figures=[*_figures(con), *(_figure(each.id, each.svg, each.caption) for each in extra_figures)],
        run_labels=RUN_LABELS,
        run_numbers=RUN_NUMBERS,
        runs=run_rows(con, whys),
        plan=plan,
        plan_statuses=PLAN_STATUSES,
        plan_stages=stage_rows(plan),
        configuration=list(configuration.items()),
        understood=list((understood or {}).items()),
        versions=list(versions.items()),
        footer="Made by atlas report. Nothing in this page is loaded from elsewhere.",
        sections=_sections(
            plan=bool(plan),
            verdicts=bool(load_pairs(con)),
            soft_labels=bool(soft_labels),
            figures=bool(available_figures(con) or extra_figures),
            understood=bool(understood),
        ),
    )
    _write(out_path, html)
    return out_path


def page_text(value: object) -> object:
    """What the template puts into the page: text of ours is Markup, any other is shown with its lines."""
    return shown(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(name: str) -> Markup:
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def _sections(
    *, plan: bool, verdicts: bool, soft_labels: bool, figures: bool, understood: bool
) -> list[tuple[str, str]]:
    wanted = [
        ("overview", "Overview", True), ("understood", "Understood", understood), ("tables", "Tables", True),
        ("verdicts", "Verdicts", verdicts),
        ("soft-labels", "Soft labels", soft_labels), ("figures", "Figures", figures), ("runs", "Runs", True),
        ("plan", "Plan and cache", plan), ("configuration", "Configuration", True),
    ]  # fmt: skip
    return [(id, name) for id, name, present in wanted if present]


def _verdicts(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    measures = {"base": "base classes", "new": "new classes", "h": "H of each run", "accuracy": "accuracy"}
    return [
        {
            "protocol": PROTOCOL_TITLES[each.protocol],
            "measure": measures[each.measure],
            "arm": each.arm,
            "mean": each.mean,
            "difference": signed(each.mean),
            "verdict": each.verdict,
        }
        for each in compare(load_pairs(con))
    ]


def _figures(con: duckdb.DuckDBPyConnection) -> Iterable[dict[str, Any]]:
    for name in available_figures(con):
        svg = inline_svg(lambda name=name: build_figure(name, con), f"figure-{name}")  # type: ignore[misc]
        yield _figure(f"figure-{name}", svg, FIGURES[name][2])


def _figure(id: str, svg: str, caption: str) -> dict[str, Any]:
    # matplotlib escapes the texts that it draws.
    width = re.search(r'\bwidth="([\d.]+pt)"', svg)
    return {"id": id, "svg": Markup(svg), "caption": caption, "width": width[1] if width else "38rem"}


def _write(path: Path, html: str) -> None:
    with written_to(path.parent, fix=ANOTHER_OUTPUT) as folder:
        (folder / path.name).write_text(html, encoding="utf-8")

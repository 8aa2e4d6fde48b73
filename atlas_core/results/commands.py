"""`atlas sql | table | figures | report`: the results on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console

from atlas_core.commands.options import (
    DataOption,
    HomeOption,
    PresetOption,
    SetOption,
    SpreadsheetOption,
    StoreOption,
    StudyArgument,
    placement_from,
    studies_from,
)
from atlas_core.errors import AtlasError
from atlas_core.own_files import ANOTHER_OUTPUT, written_to
from atlas_core.presets import study_title
from atlas_core.registry import unknown_name
from atlas_core.results.current import open_results
from atlas_core.results.database import query
from atlas_core.results.rendering import QueryFormat, TableFormat, render
from atlas_core.results.rendering import table as table_text
from atlas_core.results.tables import table_names
from atlas_core.store import Store

StudyFilter = Annotated[
    list[str] | None,
    typer.Option("--study", help="Results of this study alone; may be repeated. Default: all of the store."),
]
QueryFormatOption = Annotated[str, typer.Option("--format", help="table, csv, markdown or json")]
TableFormatOption = Annotated[str, typer.Option("--format", help="table, markdown, latex, csv or json")]


def sql(
    statement: Annotated[
        str | None, typer.Argument(metavar="SQL", help="One reading statement; without it, standard input.")
    ] = None,
    format: QueryFormatOption = "table",
    spreadsheet: SpreadsheetOption = False,
    study: StudyFilter = None,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Ask the results in SQL (DuckDB): SHOW TABLES lists the views, FROM documentation their columns."""
    if format not in get_args(QueryFormat):
        raise unknown_name("format", format, get_args(QueryFormat))
    text = _statement(statement)
    con = open_results(Store(placement_from(home, store, None).store_path), study or ())
    _print(render(query(con, text), cast(QueryFormat, format), width=_width(), spreadsheet=spreadsheet))


def table(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(table_names())}.")],
    format: TableFormatOption = "table",
    spreadsheet: SpreadsheetOption = False,
    full: Annotated[bool, typer.Option("--full", help="A block for each dataset.")] = False,
    study: StudyFilter = None,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Print a table of the paper."""
    if name not in table_names():
        raise unknown_name("table", name, table_names())
    con = open_results(Store(placement_from(home, store, None).store_path), study or ())
    chosen = cast(TableFormat, format)
    _print(table_text(name, con, chosen, full=full, width=_width(), spreadsheet=spreadsheet))


def figures(
    output: Annotated[Path, typer.Option("--output", help="Folder for the files.")] = Path("figures"),
    study: StudyFilter = None,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Draw every figure that the results can fill, as SVG and PNG."""
    # matplotlib takes a second to import, which no other command should wait for.
    from atlas_core.results.figure_style import save_figure
    from atlas_core.results.figures import available_figures, build_figure

    con = open_results(Store(placement_from(home, store, None).store_path), study or ())
    with written_to(output, fix=ANOTHER_OUTPUT) as folder:
        drawn = [
            path.name
            for name in available_figures(con)
            for path in save_figure(lambda name=name: build_figure(name, con), folder / name)  # type: ignore[misc]
        ]
    for name in drawn:
        _print(f"{output / name}\n")


def report(
    study: StudyArgument,
    preset: PresetOption = "demo",
    assignments: SetOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="The HTML file (default: report-STUDY.html here).")
    ] = None,
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
) -> None:
    """Write a study's report: one HTML file with tables, figures, runs and why, plan, configuration, versions."""
    from atlas_core.results.report.study import write_study_report

    named = study_title(study, preset)
    title = Path(named).stem
    placement = placement_from(home, store, data_root)
    path = output or Path(f"report-{title}.html")
    write_study_report(studies_from(study, preset, assignments), placement, path, title=title, named=named)
    _print(f"{path.absolute()}\n")


def _statement(given: str | None) -> str:
    if given is not None and given != "-":
        return given
    if sys.stdin.isatty():
        raise AtlasError(
            "no SQL statement",
            expected="one as an argument or on standard input",
            fix='try `atlas sql "SHOW TABLES"`',
        )
    return sys.stdin.read()


def _width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or a pipe, which gets plain text."""
    return Console().width if sys.stdout.isatty() else None


def _print(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")

"""`atlas demo`: the main job on the embedded demo world, its table, and what to do next."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer
from rich.console import Console

from atlas_core.commands.options import HomeOption, LogFileOption, WorkersOption, placement_from
from atlas_core.commands.progress import ConsoleObserver
from atlas_core.plan.run_log import logged_to
from atlas_core.plan.session import run_study
from atlas_core.presets import load_study
from atlas_core.results.current import open_results
from atlas_core.results.rendering import table
from atlas_core.store import Store

PRESET = "base-to-new-demo"


def demo(home: HomeOption = None, workers: WorkersOption = None, log_file: LogFileOption = None) -> None:
    """Run the main job on the embedded demo datasets and print its table (a few minutes; seconds the next time)."""
    placement = placement_from(home, None, None, workers)
    study = load_study(PRESET)
    console = Console(stderr=True, highlight=False)
    with logged_to(log_file, study.name, ConsoleObserver(console, workers=placement.workers)) as observer:
        run_study(study, placement, observer=observer)
    width = Console().width if sys.stdout.isatty() else None
    typer.echo(
        table("base-to-new", open_results(Store(placement.store_path), [study.name]), "table", width=width)
    )
    typer.echo(next_steps(placement.home))


def next_steps(home: Path) -> str:
    """What to do after the demo, as commands to paste."""
    atlas = shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "atlas" else "atlas"
    steps = (
        (f"export ATLAS_HOME={shlex.quote(str(home.absolute()))}", ""),
        (f"{atlas} report base-to-new", "one HTML file: tables, figures, every run and its why"),
        (f'{atlas} sql "FROM base_to_new"', "ask in SQL; SHOW TABLES lists the views"),
        (f'{atlas} why "shapes /coop/ atlas_csl seed1"', "why a run is fresh, stale, missing or pending"),
        (f"{atlas} run benchmark", "all four protocols on the demo datasets"),
        ("make serve", "Prefect's server, deployments and a worker; then:"),
        ("prefect deployment run base-to-new/demo --watch", ""),
    )
    width = max(len(command) for command, meaning in steps if meaning)
    lines = [f"  {command:<{width}}  {meaning}".rstrip() for command, meaning in steps]
    opening = "Small drawn images and a small CLIP: the numbers show the pipeline, not the paper. Next:"
    return "\n".join([opening, "", *lines, ""])

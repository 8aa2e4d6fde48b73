"""The `atlas` command: mounts every sub-command, and turns errors into one message and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer
from rich.console import Console

from atlas_core.analysis import commands as analysis
from atlas_core.bench import commands as bench
from atlas_core.commands import demo, listings, profile, study
from atlas_core.datasets import commands as datasets
from atlas_core.errors import AtlasError
from atlas_core.operations import commands as operations
from atlas_core.results import commands as results
from atlas_core.use import commands as using

app = typer.Typer(
    name="atlas",
    help="ATLaS: alternating training-based label smoothing for CLIP prompt tuning.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    demo.demo,
    study.run,
    study.status,
    study.plan,
    study.why,
    results.table,
    results.sql,
    results.figures,
    results.report,
    using.predict,
    using.export,
    using.compare,
    analysis.convergence,
    analysis.case_study,
    profile.profile,
    bench.bench,
    operations.doctor,
    operations.gc,
    listings.methods,
    listings.supervisions,
    listings.protocols,
    listings.presets,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(datasets.app)
app.add_typer(operations.store_app)


def main() -> None:
    """Run the command line; an error that the user can act on is one message and status 1."""
    try:
        app()
    except AtlasError as error:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error[/bold red] {_plain(error)}", soft_wrap=True
        )
        sys.exit(1)
    except KeyboardInterrupt:
        message = "stopped; everything that was finished is kept. Run the same command again to go on."
        Console(stderr=True).print(message)
        sys.exit(130)


def _plain(error: AtlasError) -> str:
    return str(error).replace("[", r"\[")


if __name__ == "__main__":
    main()

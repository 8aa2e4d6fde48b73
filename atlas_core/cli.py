"""The `atlas` command: mounts every sub-command, and turns errors into one message and an exit status."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_command

from atlas_core.errors import AtlasError
from atlas_core.interruption import stopping
from atlas_core.shown import shown

# Command → "module:function", or "module:app" for a group of commands; in the order of the help.
COMMANDS = {
    "demo": "commands.demo:demo",
    "run": "commands.study:run",
    "status": "commands.study:status",
    "plan": "commands.plan:plan",
    "why": "commands.study:why",
    "table": "results.commands:table",
    "sql": "results.commands:sql",
    "figures": "results.commands:figures",
    "report": "results.commands:report",
    "predict": "use.commands:predict",
    "export": "use.commands:export",
    "compare": "use.commands:compare",
    "convergence": "analysis.commands:convergence",
    "case-study": "analysis.commands:case_study",
    "profile": "commands.profile:profile",
    "bench": "bench.commands:bench",
    "doctor": "operations.commands:doctor",
    "gc": "operations.commands:gc",
    "methods": "commands.listings:methods",
    "supervisions": "commands.listings:supervisions",
    "protocols": "commands.listings:protocols",
    "presets": "commands.listings:presets",
    "datasets": "datasets.commands:app",
    "store": "operations.commands:store_app",
}


class _CommandsOnDemand(TyperGroup):
    """Imports the command that is asked for and no other: some need seconds for torch, pandas or DuckDB.

    (`Any`, because Typer's commands are click's in some of its versions and its own in others.)
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _command(cmd_name) if cmd_name in COMMANDS else None


@cache
def _command(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(f"atlas_core.{module}"), attribute)
    holder = _plain_typer()
    holder.callback()(atlas)  # with one, Typer makes a group even of a single command
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    group: Any = get_command(holder)
    return group.commands[name]


def _plain_typer() -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


app = _plain_typer()


@app.callback(cls=_CommandsOnDemand, no_args_is_help=True)
def atlas() -> None:
    """ATLaS: alternating training-based label smoothing for CLIP prompt tuning."""


def main() -> None:
    """Run the command line; an error that the user can act on is one message and status 1."""
    try:
        app()
    except AtlasError as error:
        if stopping():
            raise KeyboardInterrupt from error
        text = Text.assemble(("error", "bold red"), " ", shown(str(error), keep="\n"))
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    from atlas_core.start import main as start

    start()

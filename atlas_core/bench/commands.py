"""`atlas bench`: measure what the documentation says about speed, here and now."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from atlas_core.commands.options import HomeOption, placement_from


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[BENCHMARK]...", help="Which ones (default: all).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One repetition each: rougher numbers.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say which benchmarks there are.")] = False,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the tables to this Markdown file as well.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Measure time and memory beside a baseline; every run is added to the history in HOME/bench (Parquet)."""
    # Here, because the benchmarks import torch and open_clip, which the command line's help need not wait for.
    from atlas_core.bench.collect import chosen_benchmarks, measure, summary
    from atlas_core.bench.history import this_machine, write_history
    from atlas_core.bench.tables import markdown as as_markdown
    from atlas_core.bench.tables import terminal_table

    chosen = chosen_benchmarks(names or [])
    summaries = {name: summary(module) for name, module in chosen.items()}
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    if listing:
        for name, text in summaries.items():
            out.print(f"[bold]{name}[/bold]  {text}", soft_wrap=True)
        return
    machine, measured = this_machine(), []
    err.print(f"{machine}", soft_wrap=True)
    for name, module in chosen.items():
        started = time.monotonic()
        err.print(f"[bold]{name}[/bold]: {summaries[name]}", soft_wrap=True)
        for row in measure(name, module.rows, quick):
            measured.append(row)
            err.print(f"  {row.name}", soft_wrap=True, markup=False)
        err.print(f"  in {time.monotonic() - started:.0f} s")
    # Wider than a narrow terminal rather than cut: names say what was measured.
    Console(highlight=False, width=None if out.is_terminal else 200).print(terminal_table(measured))
    path = write_history(placement_from(home, None, None).home.expanduser() / "bench", measured, machine)
    err.print(f"added to {path}", soft_wrap=True)
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        partial = markdown.with_name(f".{markdown.name}.{os.getpid()}")
        partial.write_text(as_markdown(measured, machine, summaries), encoding="utf-8")
        os.replace(partial, markdown)

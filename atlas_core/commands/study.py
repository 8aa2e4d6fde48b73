"""`atlas run | status | why`: studies from the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atlas_core.commands.options import (
    DaskOption,
    DataOption,
    DeviceOption,
    HomeOption,
    LogFileOption,
    PresetOption,
    SetOption,
    StackOption,
    StoreOption,
    StrictOption,
    StudyArgument,
    WorkersOption,
    placement_from,
    studies_from,
)
from atlas_core.commands.progress import ConsoleObserver
from atlas_core.config import StudyConfig
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.explain import Explanation, explain, find_node, readable_difference, when
from atlas_core.plan.records import recorded_studies
from atlas_core.plan.resolve import STATUSES, Resolver, ToMake
from atlas_core.plan.run_log import logged_to
from atlas_core.plan.session import run_study
from atlas_core.registry import unknown_name
from atlas_core.stages.stage import STAGE_ORDER
from atlas_core.store import Store

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def run(
    study: StudyArgument,
    preset: PresetOption = "demo",
    assignments: SetOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    stack: StackOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
    log_file: LogFileOption = None,
    strict: StrictOption = False,
) -> None:
    """Run a study here, without a server: only what is stale or missing is made."""
    placement = placement_from(home, store, data_root, workers, device, dask, stack, strict)
    shown = [] if quiet else [ConsoleObserver(err, workers=placement.workers)]
    for each in studies_from(study, preset, assignments):
        with logged_to(log_file, each.name, *shown) as observer:
            run_study(each, placement, observer=observer)


def status(
    study: StudyArgument,
    preset: PresetOption = "demo",
    assignments: SetOption = None,
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
    output: Annotated[str, typer.Option("--format", help="table or json")] = "table",
) -> None:
    """List a study's stages and runs as fresh, stale, missing or pending; nothing is run."""
    if output not in ("table", "json"):
        raise unknown_name("format", output, ("table", "json"))
    placement = placement_from(home, store, data_root)
    rows = [row for each in studies_from(study, preset, assignments) for row in status_rows(each, placement)]
    if output == "json":
        print(json.dumps([{"study": a, "stage": b, "name": c, "status": d} for a, b, c, d in rows], indent=1))
        return
    counts = Counter((row[0], row[1], row[3]) for row in rows)
    table = Table("study", "stage", *STATUSES, box=None, pad_edge=False)
    names = list(dict.fromkeys(row[0] for row in rows))
    for name in names:
        for stage in STAGE_ORDER:
            numbers = [counts[name, stage, kind] for kind in STATUSES]
            if any(numbers):
                table.add_row(name, stage, *(str(number or "·") for number in numbers))
    out.print(table)
    for name in names:
        out.print(f"{name}: {to_make_text([row[3] for row in rows if row[0] == name])}", soft_wrap=True)
    not_fresh = [row for row in rows if row[1] == "tune" and row[3] != "fresh"]
    for _, _, name, state in not_fresh[:60]:
        out.print(f"{state:<8} {name.removeprefix('tune/')}", soft_wrap=True)
    if len(not_fresh) > 60:
        out.print(f"… and {len(not_fresh) - 60} more runs (all of them: --format json)")


def status_rows(study: StudyConfig, placement: Placement) -> list[tuple[str, str, str, str]]:
    """(study, stage, name, status) of every node."""
    graph = build_graph(study, placement)
    states = Resolver(graph, Store(placement.store_path)).states()
    return [(study.name, node.stage, node.name, states[node.name].status) for node in graph.nodes]


def to_make_text(statuses: Sequence[str]) -> str:
    """ "77 of 77 artifacts to make", "between 4 and 77 of 77 artifacts to make (…)"."""
    to_make = ToMake.of(statuses)
    text = f"{to_make} of {len(statuses)} artifacts to make"
    if to_make.perhaps:
        text += f" ({to_make.perhaps} are pending: found in the store if what they are made from comes out as it was)"
    return text


def why(
    run_name: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, its name, or words that only its name has.")
    ],
    study: Annotated[
        str | None,
        typer.Option("--study", help="The study it belongs to (default: those run on this store)."),
    ] = None,
    preset: PresetOption = "demo",
    assignments: SetOption = None,
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
) -> None:
    """Explain why a run is fresh, stale, missing or pending, field by field."""
    placement = placement_from(home, store, data_root)
    artifacts = Store(placement.store_path)
    studies = studies_from(study, preset, assignments) if study else recorded_studies(artifacts)
    if not studies:
        raise AtlasError(f"no study was run on the store {artifacts.root}", fix="name one with --study")
    for position, each in enumerate(studies):
        graph = build_graph(each, placement)
        resolver = Resolver(graph, artifacts)
        states = resolver.states()
        try:
            node = find_node(graph, states, run_name)
        except AtlasError as error:
            if position + 1 < len(studies) and error.what.startswith("unknown"):
                continue
            raise
        show(explain(resolver, states, node))
        return


def show(explanation: Explanation) -> None:
    """Print an explanation in one screen."""
    out.print(f"[bold]{explanation.name}[/bold] is [bold]{explanation.status}[/bold]", soft_wrap=True)
    for line in explanation_lines(explanation):
        out.print(f"  {line}", soft_wrap=True, markup=False)


def explanation_lines(explanation: Explanation, most: int = 24) -> list[str]:
    """An explanation as plain lines."""
    lines: list[str] = []
    if explanation.manifest is not None:
        made = explanation.manifest
        lines.append(
            f"made {when(made)} on {made.host} in {made.wall_seconds:.2f} s, key {made.key[:16]}, {made.bytes} bytes"
        )
        if made.accepted is not None:
            on = datetime.fromtimestamp(made.accepted.when).strftime("%Y-%m-%d")
            remade = len(made.accepted.checked)
            lines.append(
                f"  accepted {on} from key {made.accepted.from_key[:16]}: {remade} artifacts were remade alike"
            )
    for cause in explanation.causes:
        lines.append(f"waits for {cause}")
    if explanation.status == "pending" and explanation.sibling is not None:
        sibling = explanation.sibling
        lines.append(f"if that comes out as it was, it is {sibling.key[:16]}, made {when(sibling)}")
        return lines
    if explanation.sibling is None:
        lines.append("no other version of it is in the store")
        return lines
    sibling = explanation.sibling
    lines.append(f"newest other version: {sibling.name} ({when(sibling)}, key {sibling.key[:16]})")
    if not explanation.differences and not explanation.causes:
        lines.append("no part of the key differs: its files are gone or damaged")
    lines += [f"  {readable_difference(each)}" for each in explanation.differences[:most]]
    if len(explanation.differences) > most:
        lines.append(f"  … and {len(explanation.differences) - most} more differences")
    return lines

"""`atlas plan`: what a study would do, and what it would cost."""

from __future__ import annotations

from collections.abc import Mapping

import typer
from rich.console import Console
from rich.markup import escape

from atlas_core.commands.options import (
    DataOption,
    DeviceOption,
    HomeOption,
    PresetOption,
    SetOption,
    StoreOption,
    StrictOption,
    StudyArgument,
    WorkersOption,
    placement_from,
    studies_from,
)
from atlas_core.commands.progress import print_understanding, readable_seconds
from atlas_core.commands.study import to_make_text
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph, build_graph
from atlas_core.plan.conflicts import conflicts
from atlas_core.plan.cost_numbers import DeviceNumbers, cost_numbers, device_class
from atlas_core.plan.estimate import Costs, Estimate, estimate
from atlas_core.plan.known_datasets import known_datasets
from atlas_core.plan.notes import study_notes
from atlas_core.plan.resolve import NodeState, Resolver
from atlas_core.plan.soft_labels import SoftLabels, nearly_one_hot, soft_labels
from atlas_core.store import Store
from atlas_core.understanding.study import understand_study

out = Console(highlight=False)


def plan(
    study: StudyArgument,
    preset: PresetOption = "demo",
    assignments: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
    strict: StrictOption = False,
) -> None:
    """Say what a study would do: what was understood, runs, what is cached, an estimate of time and disk.

    The exit status is 1 when something in it cannot work.
    """
    placement = placement_from(home, store, data_root, workers, device, strict=strict)
    costs = Costs.from_manifests(Store(placement.store_path).manifests(), device_class(placement.device))
    refused = False
    for each in studies_from(study, preset, assignments):
        graph = build_graph(each, placement)
        states = Resolver(graph, Store(placement.store_path)).states()
        understanding = understand_study(graph, states, placement)
        known = known_datasets(graph, states, placement)
        found = conflicts(graph, known)
        refused |= bool(found)
        first, *rest = plan_lines(graph, states, placement, costs)
        out.print(first, soft_wrap=True)
        print_understanding(out, understanding)
        if strict:
            understanding.check_strict()
        for line in found:
            out.print(f"  [red]conflict[/red] {escape(line)}", soft_wrap=True)
        for line in study_notes(graph, states, known, placement):
            out.print(f"  [yellow]note[/yellow] {escape(line)}", soft_wrap=True)
        for line in rest:
            out.print(line, soft_wrap=True)
    if refused:
        raise typer.Exit(1)


def plan_lines(
    graph: Graph, states: Mapping[str, NodeState], placement: Placement, costs: Costs
) -> list[str]:
    """What a study would do and cost, as lines of rich's markup."""
    study = graph.study
    status = {node.name: states[node.name].status for node in graph.nodes}
    runs = [status[node.name] for node in graph.of_stage("tune")]
    perhaps = f" and {runs.count('pending')} perhaps" if "pending" in runs else ""
    lines = [
        f"[bold]{study.name}[/bold] {study.description}",
        f"  {len(runs)} runs, {runs.count('fresh')} of them cached{perhaps}; {to_make_text(list(status.values()))}",
        *soft_label_lines(soft_labels(graph, states, Store(placement.store_path))),
    ]
    surely = [node for node in graph.nodes if status[node.name] in ("stale", "missing")]
    waiting = [node for node in graph.nodes if status[node.name] != "fresh"]
    if waiting:
        least, most = (estimate(nodes, costs, placement.workers) for nodes in (surely, waiting))
        processes = "1 worker" if placement.workers < 2 else f"{placement.workers} workers"
        time = _range(readable_seconds(least.seconds), readable_seconds(most.seconds))
        lines.append(f"  {time} on {processes}, {_range(_size(least.bytes), _size(most.bytes))} on disk")
        lines.append(
            f"  {basis(most, len({node.stage for node in waiting}), cost_numbers().devices[costs.device])}"
        )
    return lines


def soft_label_lines(found: list[SoftLabels], most: int = 24) -> list[str]:
    """How soft the soft labels in the store are, and which are nearly one-hot, as lines of rich's markup."""
    if not found:
        return []
    lines = ["  soft labels, before they are mixed with the class:"]
    lines += [f"    {escape(each.line)}" for each in found[:most]]
    if len(found) > most:
        lines.append(f"    … and {len(found) - most} more")
    return lines + [f"  [yellow]warning[/yellow] {escape(line)}" for line in nearly_one_hot(found)]


def basis(estimated: Estimate, stages: int, device: DeviceNumbers) -> str:
    """What an estimate of that many stages rests on."""
    shipped = f"from the shipped cost model for {device.name}"
    if not device.measured:
        shipped += ", which was not measured on one"
    if not estimated.shipped:
        return "estimated from what such jobs have cost on this store"
    if len(estimated.shipped) == stages:
        return f"estimated {shipped}: nothing of the kind was made on this store yet"
    return f"estimated from what such jobs have cost on this store, and {shipped}: {', '.join(estimated.shipped)}"


def _range(least: str, most: str) -> str:
    return f"about {most}" if least == most else f"between {least} and {most}"


def _size(size: float) -> str:
    """ "4.2 MB", "12.5 GB"."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"

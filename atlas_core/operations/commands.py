"""`atlas doctor | gc | store verify | store accept`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from atlas_core.commands.options import (
    DataOption,
    DeviceOption,
    HomeOption,
    PresetOption,
    SetOption,
    StoreOption,
    StudyArgument,
    placement_from,
    studies_from,
)
from atlas_core.operations.garbage import (
    Piece,
    empty_trash,
    garbage,
    known_studies,
    needed_by,
    remove,
    trash,
)
from atlas_core.operations.verify import check_artifacts
from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import Resolver
from atlas_core.store import Store, adopt

out = Console(highlight=False)
store_app = typer.Typer(name="store", help="The store of artifacts.", no_args_is_help=True)
_COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


def doctor(
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Look at nothing over a network.")] = False,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            metavar="TEXT",
            help="List instead which published weights of open_clip can be used: those that hold TEXT, or all.",
        ),
    ] = None,
) -> None:
    """Look for what would make a study fail: versions, device, disk, store, Prefect's server, model hub."""
    if backbone is not None:
        _list_backbones(backbone)
        return
    from atlas_core.operations.doctor import examine  # torch, which the command line's help need not wait for

    bad = 0
    for finding in examine(placement_from(home, store, data_root, device=device), network=not offline):
        bad += finding.state == "bad"
        out.print(f"[{_COLOURS[finding.state]}]{finding.state:<5}[/] {finding.subject:<18}", end="")
        out.print(finding.message, markup=False, soft_wrap=True)
        if finding.fix and finding.state != "ok":
            out.print(f"{'':<24}→ {finding.fix}", markup=False, soft_wrap=True)
    if bad:
        raise typer.Exit(1)


def _list_backbones(pattern: str) -> None:
    from atlas_core.backbone.supported import published_support

    colours = {"works": "green", "features only": "yellow", "refused": "red"}
    found = list(published_support(pattern))
    width = max(len(f"{each.model}/{each.tag}") for each in found)
    for each in found:
        name = f"{each.model}/{each.tag}"
        out.print(f"[{colours[each.state]}]{each.state:<13}[/]  {name:<{width}}  ", end="", soft_wrap=True)
        out.print(each.reason, markup=False, soft_wrap=True)
    counts = ", ".join(f"{sum(each.state == state for each in found)} {state}" for state in colours)
    out.print(f"{len(found)} published weights: {counts}", soft_wrap=True)
    out.print(
        "features only: with every method that leaves the image tower unprompted (docs/backbones.md)",
        soft_wrap=True,
    )


def gc(
    delete: Annotated[
        bool, typer.Option("--delete", help="Move it to the store's trash; without this it is only listed.")
    ] = False,
    empty: Annotated[
        bool,
        typer.Option("--empty-trash", help="Delete for good what lies in the trash; nothing else is done."),
    ] = False,
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
) -> None:
    """List artifacts that no preset and no study that was run needs, and leftovers of crashes; or remove them."""
    placement = placement_from(home, store, data_root)
    artifacts = Store(placement.store_path)
    if empty:
        pieces = list(trash(artifacts))
        empty_trash(artifacts)
        _show(pieces)
        out.print(f"{len(pieces)} pieces, {_megabytes(pieces):.2f} MB deleted for good", soft_wrap=True)
        return
    studies = known_studies(artifacts)
    pieces = list(garbage(artifacts, needed_by(studies, placement)))
    _show(pieces)
    if delete:
        remove(artifacts, pieces)
    done = (
        "moved to the trash (`atlas gc --empty-trash` deletes it)"
        if delete
        else "would be moved to the trash (`atlas gc --delete`)"
        if pieces
        else "to remove"
    )
    out.print(
        f"{len(pieces)} pieces, {_megabytes(pieces):.2f} MB {done}; {len(studies)} studies were asked what they need",
        soft_wrap=True,
    )


def _show(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        size = f"{piece.bytes / 1e6:>10.2f} MB"
        out.print(f"{size}  {piece.name}: {piece.reason}", markup=False, soft_wrap=True)


def _megabytes(pieces: Sequence[Piece]) -> float:
    return sum(piece.bytes for piece in pieces) / 1e6


@store_app.command("adopt")
def adopt_store(home: HomeOption = None, store: StoreOption = None) -> None:
    """Make a store of a folder that holds files already; what is not a store's stays as it is."""
    root = placement_from(home, store, None).store_path
    adopt(root)
    out.print(f"{root} is a store", markup=False, soft_wrap=True)


@store_app.command("verify")
def verify(
    delete_damaged: Annotated[
        bool,
        typer.Option("--delete-damaged", help="Remove damaged artifacts; the next run makes them again."),
    ] = False,
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Read every byte of every artifact and compare it with what was written."""
    artifacts = Store(placement_from(home, store, None).store_path)
    count = size = damaged = 0
    for checked in check_artifacts(artifacts):
        count, size = count + 1, size + checked.bytes
        if checked.faults:
            damaged += 1
            out.print(
                f"damaged {checked.name} ({checked.stage}/{checked.key[:16]}):", markup=False, soft_wrap=True
            )
            for fault in checked.faults:
                out.print(f"  {fault}", markup=False, soft_wrap=True)
            if delete_damaged:
                artifacts.delete(checked.stage, checked.key)
    state = "removed" if delete_damaged else "damaged"
    out.print(f"{count} artifacts, {size / 1e6:.1f} MB read, {damaged} {state}")
    if damaged and not delete_damaged:
        raise typer.Exit(1)


@store_app.command("accept")
def accept(
    study: StudyArgument,
    preset: PresetOption = "demo",
    assignments: SetOption = None,
    number: Annotated[
        int, typer.Option("--check", min=1, help="Artifacts of each stage that are remade and compared.")
    ] = 3,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
) -> None:
    """Take over artifacts that other code made, if some of each stage, remade, are the same bit for bit."""
    # Here, because remaking imports torch, which the command line's help need not wait for.
    from atlas_core.operations.acceptance import candidates, check, drawn, enter

    placement = placement_from(home, store, data_root, device=device)
    artifacts = Store(placement.store_path)
    graphs = [build_graph(each, placement) for each in studies_from(study, preset, assignments)]
    every = [each for graph in graphs for each in candidates(graph, Resolver(graph, artifacts))]
    found = list({(each.job.stage, each.job.key): each for each in every}.values())
    units = drawn(found, number)
    for unit in units:
        check(artifacts, unit, placement)
        out.print(f"the same  {', '.join(each.job.name for each in unit)}", markup=False, soft_wrap=True)
    checked = [each.job.name for unit in units for each in unit]
    enter(artifacts, found, checked, placement)
    out.print(
        f"{len(checked)} artifacts remade, all of them the same; {len(found)} accepted"
        + ("" if found else ", because none is stale for its code alone"),
        soft_wrap=True,
    )

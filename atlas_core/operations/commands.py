"""`atlas doctor | gc | store verify`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from atlas_core.commands.options import DataOption, DeviceOption, HomeOption, StoreOption, placement_from
from atlas_core.operations.garbage import garbage, known_studies, needed_by, remove
from atlas_core.operations.verify import check_artifacts
from atlas_core.store import Store

out = Console(highlight=False)
store_app = typer.Typer(name="store", help="The store of artifacts.", no_args_is_help=True)
_COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


def doctor(
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Look at nothing over a network.")] = False,
) -> None:
    """Look for what would make a study fail: versions, device, disk, store, Prefect's server, model hub."""
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


def gc(
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; without this it is only listed.")
    ] = False,
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
) -> None:
    """List (or remove) artifacts that no preset and no study that was run needs, and leftovers of crashes."""
    placement = placement_from(home, store, data_root)
    artifacts = Store(placement.store_path)
    studies = known_studies(artifacts)
    pieces = list(garbage(artifacts, needed_by(studies, placement)))
    for piece in pieces:
        out.print(
            f"{piece.bytes / 1e6:>10.2f} MB  {piece.name}: {piece.reason}", markup=False, soft_wrap=True
        )
    size = sum(piece.bytes for piece in pieces) / 1e6
    if delete:
        remove(artifacts, pieces)
    done = "removed" if delete else "would be removed (`atlas gc --delete`)" if pieces else "to remove"
    out.print(
        f"{len(pieces)} pieces, {size:.2f} MB {done}; {len(studies)} studies were asked what they need",
        soft_wrap=True,
    )


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

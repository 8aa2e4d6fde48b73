"""`atlas methods | supervisions | protocols | presets`: what there is, one line each."""

from __future__ import annotations

import yaml
from rich.console import Console
from rich.table import Table

from atlas_core.labels.config import supervision_rows
from atlas_core.methods.registry import METHODS
from atlas_core.presets import preset_names
from atlas_core.protocols.protocol import PROTOCOLS
from atlas_core.resources import data_path

out = Console(highlight=False)


def methods() -> None:
    """List the prompt-tuning methods."""
    _print((name, METHODS.summary(name)) for name in METHODS.names())


def supervisions() -> None:
    """List the supervisions: what the cross-entropy's target is in each epoch."""
    _print(supervision_rows())


def protocols() -> None:
    """List the protocols."""
    _print((name, PROTOCOLS.summary(name)) for name in PROTOCOLS.names())


def presets() -> None:
    """List the studies that ship with the project."""
    _print((name, _description(name)) for name in preset_names())


def _description(name: str) -> str:
    raw = yaml.safe_load(data_path("presets", f"{name}.yaml").read_text(encoding="utf-8"))
    return str(raw.get("description", ""))


def _print(rows: object) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, summary in rows:  # type: ignore[attr-defined]
        table.add_row(f"[bold]{name}[/bold]", summary)
    out.print(table)

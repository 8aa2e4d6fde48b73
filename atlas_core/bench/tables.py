"""Measurements as a table for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from atlas_core.bench.collect import Measurement
from atlas_core.bench.history import Machine

COLUMNS = ("name", "ours", "baseline", "ratio", "goal", "CPU s", "memory")


def cells(row: Measurement) -> tuple[str, ...]:
    """One text a column; "·" where the benchmark has nothing to say."""
    cpu = row.ours_seconds if row.clock == "cpu" else row.cpu_seconds
    baseline = readable(row.baseline_seconds)
    return (
        row.name,
        readable(row.ours_seconds),
        f"{baseline} ({row.baseline})" if row.baseline else baseline,
        "·" if row.ratio is None else f"{row.ratio:.3g}×",
        "·" if row.goal is None else f"≥ {row.goal:g}×",
        readable(cpu),
        "·" if row.peak_gigabytes is None else f"{row.peak_gigabytes:.2f} GB",
    )


def readable(seconds: float | None) -> str:
    """ "12.3 s", "4.56 ms", "78 µs"."""
    if seconds is None:
        return "·"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def terminal_table(measured: Sequence[Measurement]) -> Table:
    """One line a measurement."""
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("name", "baseline") else "right")
    for row in measured:
        table.add_row(*cells(row))
    return table


def markdown(measured: Sequence[Measurement], machine: Machine, summaries: Mapping[str, str]) -> str:
    """A section a benchmark, with what its rows say beyond the table's columns below it."""
    parts = [f"Machine: {machine}.\n\n“ours” and “baseline” are {_clocks(measured)}."]
    for name in dict.fromkeys(row.benchmark for row in measured):
        own = [row for row in measured if row.benchmark == name]
        lines = [
            f"### {name}",
            "",
            summaries.get(name, ""),
            "",
            _line(COLUMNS),
            _line("---" for _ in COLUMNS),
        ]
        lines += [_line(cells(row)) for row in own]
        lines += ["", *(f"- {row.name}: {_details(row.details)}" for row in own if row.details)]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts) + "\n"


def _clocks(measured: Sequence[Measurement]) -> str:
    kinds = {row.clock for row in measured}
    if kinds == {"wall"}:
        return "elapsed time"
    cpu = "CPU seconds of the process"
    return cpu if kinds <= {"cpu"} else f"{cpu}, or elapsed time where a row's “CPU s” differs from “ours”"


def _line(values: Any) -> str:
    return "| " + " | ".join(str(value).replace("|", r"\|") for value in values) + " |"


def _details(details: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in details.items()
    ).replace("_", " ")

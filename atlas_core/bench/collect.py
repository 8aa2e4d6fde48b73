"""Benchmarks by name, and what they measured as rows of one form.

A benchmark is a module of this package with a function `rows()`: an iterable of dictionaries, one a measurement.
Its name is the module's; the docstring's first line says what it measures. `rows` may take `rounds` or `repeats`
(repetitions) or `quick`, which a quick run sets. What a row may hold:

    name             what was measured
    ours_seconds     this project's time (`seconds` is the same); baseline_seconds, and `baseline`, what that is
    ratio            baseline / ours, unless the row gives it; goal: the ratio aimed at
    cpu_seconds      CPU seconds of a measurement whose `ours_seconds` are wall time (`processor_seconds` too)
    peak_gigabytes   most memory held
    clock            "cpu" (the default) or "wall": what ours and baseline are

Anything else is kept as the row's details.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import atlas_core.bench as package
from atlas_core.registry import unknown_name

# What a quick run sets, where a benchmark's `rows` takes it.
_QUICK: Mapping[str, Any] = {"quick": True, "rounds": 1, "repeats": 1}
# Names for the same thing, the first of them the column's.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "ours_seconds": ("ours_seconds", "seconds"),
    "baseline_seconds": ("baseline_seconds", "bare_seconds"),
    "cpu_seconds": ("cpu_seconds", "processor_seconds"),
    "baseline": ("baseline",),
    "ratio": ("ratio",),
    "goal": ("goal",),
    "peak_gigabytes": ("peak_gigabytes",),
    "clock": ("clock",),
}


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    Attributes:
        benchmark: The benchmark that it belongs to.
        baseline: What `baseline_seconds` are of; empty where there is nothing to compare with.
        ratio: How many times the baseline takes what ours takes.
        clock: Whether ours and baseline are CPU seconds of the process ("cpu") or elapsed time ("wall").
        details: What else the benchmark said.
    """

    benchmark: str
    name: str
    ours_seconds: float | None = None
    baseline: str = ""
    baseline_seconds: float | None = None
    ratio: float | None = None
    goal: float | None = None
    cpu_seconds: float | None = None
    peak_gigabytes: float | None = None
    clock: str = "cpu"
    details: dict[str, Any] = field(default_factory=dict)


def benchmarks() -> dict[str, ModuleType]:
    """Every benchmark by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if callable(getattr(module, "rows", None))}


def summary(module: ModuleType) -> str:
    """What a benchmark measures: the first line of its docstring."""
    return (module.__doc__ or "").strip().partition("\n")[0]


def chosen_benchmarks(names: Sequence[str]) -> dict[str, ModuleType]:
    """The named benchmarks, all where none is named.

    Raises:
        AtlasError: There is no benchmark of that name.
    """
    known = benchmarks()
    for name in names:
        if name not in known:
            raise unknown_name("benchmark", name, list(known))
    return {name: module for name, module in known.items() if not names or name in names}


def measure(
    name: str, rows: Callable[..., Iterable[Mapping[str, Any]]], quick: bool
) -> Iterator[Measurement]:
    """Run a benchmark; its rows as they come."""
    taken = inspect.signature(rows).parameters
    arguments = {key: value for key, value in _QUICK.items() if key in taken} if quick else {}
    for row in rows(**arguments):
        yield measurement(name, row)


def measurement(benchmark: str, row: Mapping[str, Any]) -> Measurement:
    """A benchmark's row in the common form."""
    values: dict[str, Any] = {}
    for column, aliases in _ALIASES.items():
        given = next((row[alias] for alias in aliases if row.get(alias) is not None), None)
        if given is not None:
            values[column] = given
    ours, baseline = values.get("ours_seconds"), values.get("baseline_seconds")
    if "ratio" not in values and ours and baseline:
        values["ratio"] = baseline / ours
    # A row that gives its CPU seconds apart has measured elapsed time.
    if "cpu_seconds" in values:
        values.setdefault("clock", "wall")
    known = {"name"}.union(*_ALIASES.values())
    details = {key: value for key, value in row.items() if key not in known}
    return Measurement(benchmark, str(row["name"]), **values, details=details)

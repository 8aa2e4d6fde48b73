"""Arms of a comparison: which settings stand beside each other in a table, in what order, under what name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from atlas_core.labels.config import DEFAULT_PERIOD

# The field's order; a method or supervision that is not listed comes after these, by name.
METHOD_ORDER = (
    "zero_shot", "coop", "cocoop", "kgcoop", "prograd", "vpt", "ivlp", "maple", "promptsrc", "tcp",
    "dept_coop", "dept_cocoop", "dept_kgcoop", "dept_maple",
    "coprompt",
)  # fmt: skip
SUPERVISION_ORDER = ("none", "one_hot", "ls", "tfkd", "tfkd_self", "ols", "csl", "isl")

# column of the views -> how its value is written where arms differ in it
_FACTORS: dict[str, Callable[[Any], str]] = {
    "period": lambda value: "K=∞" if value is None else f"K={value}",
    "mix": lambda value: f"ε={value:g}" if value is not None else "",
    "temperature": lambda value: "T=default" if value is None else f"T={value:g}",
    "shots": lambda value: "1 shot" if value == 1 else f"{value} shots",
    "backbone": lambda value: str(value),
    "variant": lambda value: f"variant {value}",
}
SETTING_COLUMNS = ("method", "supervision", "source", *_FACTORS)

Arm = tuple[Any, ...]


def arm_of(row: Mapping[str, Any], leave_out: Iterable[str] = ()) -> Arm:
    """What makes a row of a view one arm: its setting, without the columns in `leave_out`."""
    skipped = set(leave_out)
    return tuple(row[name] for name in SETTING_COLUMNS if name not in skipped)


def arm_settings(rows: Iterable[Mapping[str, Any]], leave_out: Iterable[str] = ()) -> dict[Arm, str]:
    """Each arm's setting in words, holding only what tells it from others of its method and supervision.

    >>> arm_settings(rows)[arm]
    'K=2, ε=0.5'
    """
    rows = list(rows)
    seen: dict[tuple[str, str, str], set[Any]] = defaultdict(set)
    for row in rows:
        for factor in _FACTORS:
            seen[row["method"], row["supervision"], factor].add(row[factor])
    skipped = set(leave_out)
    settings = {}
    for row in rows:
        words = [
            write(row[factor])
            for factor, write in _FACTORS.items()
            if factor not in skipped and len(seen[row["method"], row["supervision"], factor]) > 1
        ]
        settings[arm_of(row, skipped)] = ", ".join(word for word in words if word)
    return settings


def method_rank(method: str) -> tuple[int, str]:
    """Sort key of a method."""
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER), method)


def supervision_rank(supervision: str) -> tuple[int, int, str]:
    """Sort key of a supervision: plain label sources first, then ATLaS with the same order of sources."""
    source = supervision.removeprefix("atlas_")
    place = SUPERVISION_ORDER.index(source) if source in SUPERVISION_ORDER else len(SUPERVISION_ORDER)
    return (int(source != supervision), place, supervision)


def row_rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key of a row of a view: method, supervision, then the numbers of its setting."""
    numbers = tuple(
        -1.0 if row[name] is None else float(row[name]) for name in ("period", "mix", "temperature")
    )
    return (
        method_rank(row["method"]),
        supervision_rank(row["supervision"]),
        numbers,
        row["shots"],
        row["backbone"],
        row["variant"],
    )


def main_arms(rows: Sequence[Mapping[str, Any]], apart: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Rows of one setting for each method and supervision: the one with most rows, the defaults among equals.

    A figure has room for one line a supervision, not for an ablation's variants of it.

    Args:
        apart: Columns along which a line runs (`shots`): settings that differ there alone belong together.
    """
    skipped = tuple(apart)
    counts = Counter((row["method"], row["supervision"], arm_of(row, skipped)) for row in rows)
    best: dict[tuple[str, str], tuple[Any, Any]] = {}
    for row in rows:
        arm = arm_of(row, skipped)
        usual = (
            row["temperature"] is None,
            row["period"] == DEFAULT_PERIOD,
            row["mix"] or 0.0,
            -row["variant"],
        )
        rank = (counts[row["method"], row["supervision"], arm], usual)
        place = (row["method"], row["supervision"])
        if place not in best or rank > best[place][0]:
            best[place] = (rank, arm)
    return [dict(row) for row in rows if arm_of(row, skipped) == best[row["method"], row["supervision"]][1]]

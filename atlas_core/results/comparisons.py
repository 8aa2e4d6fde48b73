"""Each supervision against one-hot training, paired by dataset and seed, with a verdict in plain words.

A pair has the same shots, the same initial context and the same batch order, so that a difference is the
supervision's doing. Collapsed runs are counted and named, never dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from atlas_core.results.arms import SETTING_COLUMNS, arm_of, arm_settings, row_rank
from atlas_core.results.database import query
from atlas_core.results.statistics import (
    ALPHA,
    Interval,
    Spread,
    bootstrap_interval,
    can_be_significant,
    holm,
    signed_rank_p,
    smallest_signed_rank_p,
    spread,
    student_interval,
    two_level_bootstrap_interval,
    wins_ties_losses,
)

_SETTING = ", ".join(SETTING_COLUMNS)
# In base-to-new H is that of each run; the other protocols have one accuracy a dataset.
_BASE_TO_NEW = f"""
SELECT 'base_to_new' AS protocol, dataset AS place, dataset AS trained_on, seed,
    e.collapsed OR o.collapsed AS collapsed,
    unnest(['base', 'new', 'h']) AS measure,
    unnest([e.base - o.base, e.new - o.new, e.h - o.h]) AS difference,
    {", ".join(f"e.{column}" for column in SETTING_COLUMNS)}
FROM base_to_new_runs AS e
JOIN base_to_new_runs AS o USING (dataset, method, shots, backbone, variant, seed)
WHERE e.supervision <> 'one_hot' AND o.supervision = 'one_hot' AND e.degenerate IS NULL
"""
_OTHERS = f"""
SELECT protocol, target AS place, dataset AS trained_on, seed, collapsed, 'accuracy' AS measure, difference,
    {_SETTING}
FROM paired_differences
WHERE subset = 'all' AND degenerate IS NULL AND (protocol = 'few_shot' OR target <> dataset)
"""
PROTOCOLS = ("base_to_new", "cross_dataset", "domain_generalization", "few_shot")


@dataclass(frozen=True)
class Pair:
    """One paired difference: a run's accuracy minus that of the one-hot run of the same seed, in points.

    Attributes:
        place: Dataset trained on, or tested on in the transfer protocols.
        arm: Method, supervision, and in words what else tells the arm from others ("K=2, ε=0.5").
    """

    protocol: str
    measure: str
    place: str
    seed: int
    difference: float
    collapsed: bool
    arm: tuple[str, str, str]


@dataclass(frozen=True)
class Summary:
    """Differences and what they say of their mean, in points."""

    spread: Spread
    student: Interval | None
    bootstrap: Interval | None


@dataclass(frozen=True)
class Comparison:
    """One arm against one-hot training of its method, over everything that both have.

    Attributes:
        arm: As in `Pair`.
        places: Dataset -> its differences over seeds.
        over_seeds: Each seed's mean over the datasets (seeds that all have): would other seeds change it?
        over_places: The datasets' means: would other datasets change it? Its bootstrap resamples both.
        wins, ties, losses: Datasets by the sign of their mean, as printed.
        p: Of the signed-rank test over dataset means; None where no test was made.
        p_holm: The same after Holm's correction over `family` tests.
        n_collapsed: Pairs with a collapsed run.
    """

    protocol: str
    measure: str
    arm: tuple[str, str, str]
    places: dict[str, Summary]
    over_seeds: Summary | None
    over_places: Summary
    wins: int
    ties: int
    losses: int
    n_collapsed: int
    p: float | None = None
    p_holm: float | None = None
    family: int = 0

    @property
    def mean(self) -> float:
        """Mean of the datasets' means."""
        return self.over_places.spread.mean

    @property
    def verdict(self) -> str:
        """What the numbers say, in one or two sentences."""
        return " ".join([_effect(self), self.test_verdict, *_warnings(self)])

    @property
    def test_verdict(self) -> str:
        """What the test says, or why none was made."""
        return _test(self)


def load_pairs(con: duckdb.DuckDBPyConnection, protocols: Sequence[str] = PROTOCOLS) -> list[Pair]:
    """All paired differences of the results, in the order of the tables."""
    rows = [*query(con, _BASE_TO_NEW).to_pylist(), *query(con, _OTHERS).to_pylist()]
    complete = [row for row in rows if row["difference"] is not None]
    by_protocol = [[row for row in complete if row["protocol"] == protocol] for protocol in protocols]
    return [pair for rows in by_protocol for pair in _pairs(sorted(rows, key=row_rank))]


def _pairs(rows: list[dict[str, Any]]) -> Iterator[Pair]:
    """Rows of one protocol as pairs; arms of several sources are told apart by their source."""
    settings = arm_settings(rows)
    transfer = len({row["trained_on"] for row in rows if row["trained_on"] != row["place"]}) > 1
    for row in rows:
        words = [settings[arm_of(row)], f"trained on {row['trained_on']}" if transfer else ""]
        arm = (row["method"], row["supervision"], ", ".join(word for word in words if word))
        yield Pair(
            row["protocol"],
            row["measure"],
            row["place"],
            row["seed"],
            row["difference"],
            row["collapsed"],
            arm,
        )


def compare(pairs: Iterable[Pair], alpha: float = ALPHA) -> list[Comparison]:
    """Compare every arm with one-hot training; tests of one protocol and measure are one Holm family."""
    arms: dict[tuple[str, str, tuple[str, str, str]], list[Pair]] = defaultdict(list)
    for pair in pairs:
        arms[pair.protocol, pair.measure, pair.arm].append(pair)
    families: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for (protocol, measure, _), members in arms.items():
        families[protocol, measure].append(_comparison(members))
    order = sorted(families, key=lambda family: PROTOCOLS.index(family[0]))
    return [each for family in order for each in _tested(families[family], alpha)]


def _comparison(pairs: list[Pair]) -> Comparison:
    by_place: dict[str, dict[int, float]] = defaultdict(dict)
    for pair in pairs:
        by_place[pair.place][pair.seed] = pair.difference
    places = {place: list(seeds.values()) for place, seeds in sorted(by_place.items())}
    means = [spread(values).mean for values in places.values()]
    common = set.intersection(*(set(seeds) for seeds in by_place.values()))
    averages = [spread([seeds[seed] for seeds in by_place.values()]).mean for seed in sorted(common)]
    wins, ties, losses = wins_ties_losses(means)
    return Comparison(
        protocol=pairs[0].protocol,
        measure=pairs[0].measure,
        arm=pairs[0].arm,
        places={place: _summary(values) for place, values in places.items()},
        over_seeds=_summary(averages) if averages else None,
        over_places=Summary(spread(means), student_interval(means), two_level_bootstrap_interval(places)),
        wins=wins,
        ties=ties,
        losses=losses,
        n_collapsed=sum(pair.collapsed for pair in pairs),
    )


def _summary(values: Sequence[float]) -> Summary:
    return Summary(spread(values), student_interval(values), bootstrap_interval(values))


def _tested(family: list[Comparison], alpha: float) -> list[Comparison]:
    able = can_be_significant([len(each.places) for each in family], alpha)
    chosen = [each for each, can in zip(family, able, strict=True) if can]
    raw = [signed_rank_p([place.spread.mean for place in each.places.values()]) for each in chosen]
    adjusted = iter(zip(raw, holm(raw), strict=True))
    tested = []
    for each, can in zip(family, able, strict=True):
        p, p_holm = next(adjusted) if can else (None, None)
        tested.append(replace(each, p=p, p_holm=p_holm, family=len(chosen) if can else len(family)))
    return tested


def _effect(each: Comparison) -> str:
    n = len(each.places)
    interval = each.over_seeds.student if each.over_seeds is not None else None
    sure = f" (95 % over seeds: {interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    where = f"over {n} datasets" if n > 1 else f"on {next(iter(each.places))}"
    counted = f"; {each.wins} better, {each.ties} equal, {each.losses} worse" if n > 1 else ""
    return f"{each.mean:+.2f} points {where}{sure}{counted}.".replace("-", "−")


def _test(each: Comparison) -> str:
    n = len(each.places)
    if each.p is not None and each.p_holm is not None:
        found = "a difference from one-hot" if each.p_holm <= ALPHA else "not to be told from chance"
        return (
            f"Signed-rank test over dataset means: p = {each.p:.3g}, {each.p_holm:.3g} after Holm over "
            f"{each.family} test{'' if each.family == 1 else 's'}: {found}."
        )
    smallest = smallest_signed_rank_p(n)
    if smallest > ALPHA:
        return (
            f"No test: with {n} dataset{'' if n == 1 else 's'} the smallest p of a signed-rank test is "
            f"{smallest:.3g}, so nothing could be significant at {ALPHA:g}."
        )
    return (
        f"No test: with {n} datasets the smallest p of a signed-rank test is {smallest:.3g}, which Holm's "
        f"correction over {each.family} comparisons lifts above {ALPHA:g} whatever the results are."
    )


def _warnings(each: Comparison) -> list[str]:
    found = []
    if each.over_seeds is None or each.over_seeds.spread.n < 2:
        found.append("One seed: nothing can be said about the spread over seeds.")
    if each.n_collapsed:
        pairs = "pair has a collapsed run" if each.n_collapsed == 1 else "pairs have a collapsed run"
        found.append(f"{each.n_collapsed} {pairs}; it is counted.")
    return found

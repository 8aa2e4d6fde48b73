"""The table of paired differences: every supervision against one-hot training, with intervals and tests."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from atlas_core.results.comparisons import Comparison, compare, load_pairs
from atlas_core.results.statistics import ALPHA
from atlas_core.results.tables import (
    COLLAPSED_NOTE,
    PROTOCOL_TITLES,
    Block,
    Builder,
    Cell,
    Entry,
    ResultTable,
    build_block,
    notes_of,
)

_MEASURES = {"base": "base classes", "new": "new classes", "h": "H of each run", "accuracy": "accuracy"}


def statistics_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Differences to one-hot training with intervals and tests; `full` adds each dataset's."""
    comparisons = compare(load_pairs(con))
    blocks = []
    families = dict.fromkeys((each.protocol, each.measure) for each in comparisons)
    for protocol, measure in families:
        chosen = [each for each in comparisons if (each.protocol, each.measure) == (protocol, measure)]
        title = f"{PROTOCOL_TITLES[protocol]}: {_MEASURES[measure]}"
        blocks.append(_statistics_block(title, chosen))
        if full:
            blocks.append(_places_block(f"{title}, by dataset", chosen))
    notes = (
        "difference to one_hot training of the same method, points, pairs of equal seed",
        "t: 95 % Student interval over seeds (of their means over datasets)",
        "bootstrap: 95 % percentile interval over datasets and seeds",
        "p: Wilcoxon signed-rank over dataset means, where it can be significant; Holm over one block",
        *verdict_notes(comparisons),
    )
    labels = ("method", "supervision", "setting", "dataset")
    return ResultTable(
        "statistics", "Differences to one-hot training", labels, tuple(blocks), notes_of(blocks, *notes)
    )


def _statistics_block(title: str, comparisons: list[Comparison]) -> Block:
    columns = [
        "difference", "t low", "t high", "bootstrap low", "bootstrap high", "better", "equal", "worse",
        "p", "p Holm",
    ]  # fmt: skip
    labels, entries = {}, []
    for number, each in enumerate(comparisons):
        student = each.over_seeds.student if each.over_seeds else None
        bootstrap = each.over_places.bootstrap
        numbers = [
            each.mean,
            student.low if student else None,
            student.high if student else None,
            bootstrap.low if bootstrap else None,
            bootstrap.high if bootstrap else None,
            each.wins,
            each.ties,
            each.losses,
        ]
        cells = [Cell(value) for value in numbers] + [Cell(each.p, decimals=4), Cell(each.p_holm, decimals=4)]
        if each.n_collapsed:
            cells[0] = Cell(each.mean, marks=COLLAPSED_NOTE[0])
        labels[number] = (*each.arm, "")
        entries += [Entry(number, None, column, cell) for column, cell in zip(columns, cells, strict=True)]
    return build_block(title, entries, columns, labels, rank=False, spread=False, deltas=False)


def verdict_notes(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """A sentence for each measure and verdict: who differs, who does not, what was not tested and why."""
    said: dict[tuple[str, str], list[str]] = {}
    tested = set()
    for each in comparisons:
        where = f"{PROTOCOL_TITLES[each.protocol]}, {_MEASURES[each.measure]}"
        if each.p_holm is None:
            verdict = each.test_verdict.removesuffix(".")
        else:
            tested.add(where)
            verdict = "different from one-hot" if each.p_holm <= ALPHA else "not to be told from chance"
        said.setdefault((where, verdict), []).append(" ".join(word for word in each.arm if word))
    return tuple(
        f"{where}: {verdict}" + (f": {'; '.join(arms)}" if where in tested else "")
        for (where, verdict), arms in said.items()
    )


def _places_block(title: str, comparisons: list[Comparison]) -> Block:
    columns = [
        "difference",
        "std (ddof 0)",
        "std (sample)",
        "t low",
        "t high",
        "bootstrap low",
        "bootstrap high",
    ]
    labels, entries, number = {}, [], 0
    for each in comparisons:
        for place, summary in each.places.items():
            student, bootstrap = summary.student, summary.bootstrap
            numbers = [
                summary.spread.mean,
                summary.spread.std if summary.spread.n > 1 else None,
                summary.spread.std_sample,
                student.low if student else None,
                student.high if student else None,
                bootstrap.low if bootstrap else None,
                bootstrap.high if bootstrap else None,
            ]
            labels[number] = (*each.arm, place)
            entries += [
                Entry(number, None, column, Cell(value))
                for column, value in zip(columns, numbers, strict=True)
            ]
            number += 1
    return build_block(title, entries, columns, labels, rank=False, spread=False, deltas=False)


BUILDERS: dict[str, Builder] = {"statistics": statistics_table}

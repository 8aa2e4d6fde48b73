"""Tables about the results: what they cost, how calibrated they are, and what others published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from atlas_core.results.arms import arm_of, method_rank, row_rank
from atlas_core.results.database import query
from atlas_core.results.tables import (
    PROTOCOL_TITLES,
    RANK_NOTE,
    Block,
    Builder,
    Cell,
    Entry,
    ResultTable,
    baselines_of,
    build_block,
    degenerate_notes,
    labels_of,
    marks_of,
    notes_of,
)

_SUBSETS = {"base": ", base classes", "new": ", new classes", "all": ""}
_STAGE_COLUMNS = {
    "n_artifacts": "artifacts", "wall_seconds": "wall s", "cpu_seconds": "CPU s", "wall_percent": "wall %",
}  # fmt: skip
_TRAINING_COLUMNS = {
    "n_runs": "runs", "wall": "wall s", "cpu": "CPU s", "epoch": "s an epoch", "parameters": "parameters",
}  # fmt: skip
_CALIBRATION_COLUMNS = {
    "accuracy": "accuracy %", "ece": "ECE %", "nll": "NLL", "overconfidence": "overconfidence",
}  # fmt: skip
_SOFT_LABELS = ("csl", "isl")

ViewRow = Mapping[str, Any]


def runtime_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Seconds: what each stage cost, and a training of each method and supervision (`full`: by dataset)."""
    stages = query(con, "SELECT * FROM stage_runtime ORDER BY wall_seconds DESC").to_pylist()
    place = "dataset" if full else "''"
    runs = query(
        con,
        f"SELECT method, supervision, {place} AS place, sum(n_runs)::BIGINT AS n_runs, "
        "sum(total_wall_seconds) / sum(n_runs) AS wall, sum(total_cpu_seconds) / sum(n_runs) AS cpu, "
        "sum(total_wall_seconds) / nullif(sum(n_runs * epochs), 0) AS epoch, "
        "max(learned_parameters) AS parameters FROM runtime GROUP BY ALL ORDER BY ALL",
    ).to_pylist()
    blocks = [
        _plain_block("By stage", [(row["stage"], "", "") for row in stages], stages, _STAGE_COLUMNS),
        _plain_block(
            "One training, mean",
            [(row["method"], row["supervision"], row["place"]) for row in runs],
            runs,
            _TRAINING_COLUMNS,
        ),
    ]
    labels = ("stage or method", "supervision", "dataset")
    return ResultTable("runtime", "Where the time goes", labels, tuple(blocks), _soft_label_note(stages))


def _soft_label_note(stages: Sequence[ViewRow]) -> tuple[str, ...]:
    """What making CSL and ISL costs beside training, in words."""
    seconds = {row["stage"]: row["wall_seconds"] for row in stages}
    made = [name for name in _SOFT_LABELS if name in seconds]
    if not made or not seconds.get("tune"):
        return ()
    total = sum(seconds[name] for name in made)
    share = 100 * total / seconds["tune"]
    return (f"making {' and '.join(made)} took {total:.3g} s, {share:.2g} % of the training time",)


def calibration_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Calibration error, likelihood and overconfidence by protocol and classes (`full`: each dataset too)."""
    rows = sorted(query(con, "SELECT * FROM calibration_summary").to_pylist(), key=row_rank)
    blocks = []
    for protocol, heading in PROTOCOL_TITLES.items():
        for subset, classes in _SUBSETS.items():
            of_subset = [row for row in rows if (row["protocol"], row["subset"]) == (protocol, subset)]
            targets = sorted({row["target"] for row in of_subset} - {"average"})
            for target in ["average", *(targets if full else ())]:
                chosen = [row for row in of_subset if row["target"] == target]
                if chosen:
                    blocks.append(_calibration_block(f"{heading}{classes} ({target})", chosen))
    notes = ("ECE over 15 bins; overconfidence is mean confidence minus accuracy, points", RANK_NOTE)
    return ResultTable(
        "calibration",
        "Calibration",
        ("method", "supervision", "setting"),
        tuple(blocks),
        notes_of(blocks, *notes, *degenerate_notes(rows)),
    )


def _calibration_block(title: str, rows: list[dict[str, Any]]) -> Block:
    sources = {row["dataset"] for row in rows}
    if len(sources) > 1:
        rows = [{**row, "backbone": f"{row['backbone']}, trained on {row['dataset']}"} for row in rows]
    labels, baselines = labels_of(rows), baselines_of(rows)
    most = max(row["n_targets"] for row in rows)
    entries = [
        Entry(
            arm_of(row),
            baselines[arm_of(row)],
            heading,
            Cell(row[column], marks=marks_of(row, "n_targets", most)),
        )
        for row in rows
        for column, heading in _CALIBRATION_COLUMNS.items()
    ]
    block = build_block(
        title,
        entries,
        list(_CALIBRATION_COLUMNS.values()),
        labels,
        lowest={"ECE %", "NLL"},
        spread=False,
        deltas=False,
    )
    return _without_ranks(block, "overconfidence")


def _without_ranks(block: Block, column: str) -> Block:
    """A column in which neither the largest nor the smallest number is the best has no ranks."""
    k = block.columns.index(column)
    rows = tuple(
        replace(row, cells=(*row.cells[:k], replace(row.cells[k], place=0), *row.cells[k + 1 :]))
        for row in block.rows
    )
    return replace(block, rows=rows)


def published_table(con: duckdb.DuckDBPyConnection, *, full: bool = False) -> ResultTable:
    """Ours minus published where both measure the same; then the published averages (`full`: all numbers)."""
    ours = query(con, "SELECT * FROM ours_minus_published ORDER BY ALL").to_pylist()
    where = "" if full else "WHERE dataset = 'average' AND protocol = 'base_to_new'"
    published = query(con, f"SELECT * FROM published {where}").to_pylist()
    published.sort(key=_published_rank)
    blocks = []
    if ours:
        names = [
            (row["method"], f"{row['dataset']}, {row['metric']}{_partial(row)}", _shots(row), row["source"])
            for row in ours
        ]
        columns = {"ours": "ours", "published": "published", "difference": "ours − published"}
        blocks.append(_plain_block("Ours minus published", names, ours, columns))
    for protocol, heading in PROTOCOL_TITLES.items():
        chosen = [row for row in published if row["protocol"] == protocol]
        if chosen:
            blocks.append(_published_block(f"Published: {heading}", chosen))
    notes = () if ours else (
        "no number of ours measures the same as a published one "
        "(same method, dataset, shots and architecture, trained with one_hot)",
    )  # fmt: skip
    return ResultTable(
        "published",
        "Published numbers, percent",
        ("method", "dataset", "shots", "source"),
        tuple(blocks),
        notes,
    )


def _published_block(title: str, rows: list[dict[str, Any]]) -> Block:
    labels: dict[Any, tuple[str, ...]] = {}
    entries = []
    for row in rows:
        arm = (row["method"], row["dataset"], row["shots"], row["backbone"], row["source"])
        labels[arm] = (row["method"], f"{row['dataset']}, {row['backbone']}", _shots(row), row["source"])
        entries.append(Entry(arm, None, row["metric"], Cell(row["value"])))
    columns = [
        metric for metric in ("base", "new", "h", "acc") if any(row["metric"] == metric for row in rows)
    ]
    return build_block(title, entries, columns, labels, rank=False, spread=False, deltas=False)


def _published_rank(row: ViewRow) -> tuple[Any, ...]:
    shots = -1 if row["shots"] is None else row["shots"]
    return (row["dataset"], method_rank(row["our_method"] or "~"), row["method"], shots, row["source"])


def _shots(row: ViewRow) -> str:
    return "" if row["shots"] is None else str(row["shots"])


def _partial(row: ViewRow) -> str:
    return f" (partial: {row['partial']})" if row["partial"] else ""


def _plain_block(
    title: str, names: Sequence[tuple[str, ...]], rows: Sequence[ViewRow], columns: Mapping[str, str]
) -> Block:
    """Numbers as they are: nothing ranked, nothing compared."""
    entries = [
        Entry(number, None, heading, Cell(row[name]))
        for number, row in enumerate(rows)
        for name, heading in columns.items()
    ]
    labels = dict(enumerate(names))
    return build_block(title, entries, list(columns.values()), labels, rank=False, spread=False, deltas=False)


BUILDERS: dict[str, Builder] = {
    "runtime": runtime_table,
    "calibration": calibration_table,
    "published": published_table,
}

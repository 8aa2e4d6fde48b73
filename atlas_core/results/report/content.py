"""What the report shows, as plain values for its template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from atlas_core.errors import AtlasError
from atlas_core.results.arms import arm_of, arm_settings, row_rank
from atlas_core.results.database import query
from atlas_core.results.formatting import direction, grouped, number, signed, used_labels
from atlas_core.results.tables import PROTOCOL_TITLES, Block, Cell, ResultTable, build_table, table_names

if TYPE_CHECKING:
    from atlas_core.results.report.write import PlanRow

# Tables whose long form holds a block a dataset.
_BY_DATASET = {"base-to-new", "few-shot", "supervision-comparison", "ablation", "calibration", "statistics"}
PLAN_STATUSES = ("cached", "made", "stale", "missing", "pending")
_RUNS = """
SELECT r.*, 1 AS variant, m.seen, m.unseen
FROM runs AS r
LEFT JOIN (
    SELECT
        run_id, protocol, avg(accuracy) FILTER (target = dataset AND subset <> 'new') AS seen,
        avg(accuracy) FILTER (target <> dataset OR subset = 'new') AS unseen
    FROM evaluations
    GROUP BY run_id, protocol
) AS m USING (run_id, protocol)
"""


def cards(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """The numbers at the top: (name, value, remark)."""
    counts = query(
        con,
        "SELECT count(*) AS runs, count(DISTINCT study) AS studies, count(DISTINCT dataset) AS datasets, "
        "count(DISTINCT method) AS methods, "
        "count(DISTINCT supervision) FILTER (supervision <> 'none') AS supervisions, "
        "count(DISTINCT seed) FILTER (method <> 'zero_shot') AS seeds, sum(wall_seconds) AS seconds FROM runs",
    ).to_pylist()[0]
    found = [
        (
            "runs",
            str(counts["runs"]),
            f"in {counts['studies']} {'study' if counts['studies'] == 1 else 'studies'}",
        ),
        ("datasets trained on", str(counts["datasets"]), ""),
        ("methods", str(counts["methods"]), ""),
        ("supervisions", str(counts["supervisions"]), ""),
        ("seeds", str(counts["seeds"]), ""),
        ("training time", _duration(counts["seconds"] or 0.0), "by the clock, all runs"),
    ]
    best = query(
        con,
        "SELECT method, supervision, h FROM base_to_new WHERE dataset = 'average' ORDER BY h DESC, method LIMIT 1",
    ).to_pylist()
    if best:
        found.append(
            ("highest average H", number(best[0]["h"]), f"{best[0]['method']}, {best[0]['supervision']}")
        )
    return found


def collapse_warning(con: duckdb.DuckDBPyConnection) -> str:
    """A sentence about collapsed runs; empty when there is none."""
    n = query(con, "SELECT count(*) AS n FROM runs WHERE collapsed").to_pylist()[0]["n"]
    if not n:
        return ""
    what = "1 run collapsed" if n == 1 else f"{n} runs collapsed"
    return f"{what}: flagged with † and counted in every number, never dropped. The list of runs says why."


def table_views(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Every table that has results: its blocks, and those by dataset behind a fold."""
    views = []
    for name in table_names():
        try:
            short = build_table(con, name)
        except AtlasError:
            continue  # a protocol that was not run
        more: list[Block] = []
        if name in _BY_DATASET:
            titles = {block.title for block in short.blocks}
            more = [block for block in build_table(con, name, full=True).blocks if block.title not in titles]
        views.append(
            {
                "name": name,
                "title": short.title,
                "blocks": [_block(short, block) for block in short.blocks if block.rows],
                "more": [_block(short, block) for block in more if block.rows],
                "notes": short.notes,
            }
        )
    return views


def _block(table: ResultTable, block: Block) -> dict[str, Any]:
    used = used_labels(block)
    return {
        "title": block.title,
        "labels": [table.labels[k] for k in used],
        "columns": block.columns,
        "rows": [
            {
                "labels": [row.labels[k] for k in used],
                "opens": opens,
                "cells": [_cell(cell, block) for cell in row.cells],
            }
            for row, opens in grouped(block)
        ],
    }


def _cell(cell: Cell, block: Block) -> dict[str, Any]:
    delta = cell.delta if block.deltas else None
    return {
        "text": number(cell.value, cell.decimals),
        "sort": _sortable(cell.value),
        "place": cell.place,
        "marks": cell.marks,
        "std": number(cell.std) if block.spread and cell.std is not None else "",
        "delta": "" if delta is None else signed(delta),
        "trend": "" if delta is None else ("std", "up", "down")[direction(delta)],
    }


def run_rows(con: duckdb.DuckDBPyConnection, whys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every run with its accuracy where it was trained and where it was not, and its `why`."""
    rows = query(con, _RUNS).to_pylist()
    settings = arm_settings(rows, ("shots",))
    rows.sort(key=lambda row: (row["protocol"], row["dataset"], *row_rank(row), row["seed"]))
    return [
        {
            "id": row["run_id"],
            "name": row["run_name"],
            "labels": [
                PROTOCOL_TITLES.get(row["protocol"], row["protocol"]),
                row["dataset"],
                row["method"],
                row["supervision"],
                settings[arm_of(row, ("shots",))],
            ],
            "numbers": [
                (row["shots"], str(row["shots"])),
                (row["seed"], str(row["seed"])),
                (_sortable(row["seen"]), number(row["seen"])),
                (_sortable(row["unseen"]), number(row["unseen"])),
                (_sortable(row["final_loss"]), number(row["final_loss"], 4)),
                (_sortable(row["wall_seconds"]), number(row["wall_seconds"])),
            ],
            "collapsed": row["collapsed_because"] or "",
            "why": whys.get(row["run_name"]) or whys.get(row["run_id"]) or "",
        }
        for row in rows
    ]


def stage_rows(plan: Sequence[PlanRow]) -> list[dict[str, Any]]:
    """The plan by stage: how many artifacts are in which state, their time and size."""
    rows = []
    for stage in dict.fromkeys(row.stage for row in plan):
        of_stage = [row for row in plan if row.stage == stage]
        counts = [len(of_stage), *(sum(row.status == status for row in of_stage) for status in PLAN_STATUSES)]
        seconds = sum(row.seconds or 0.0 for row in of_stage)
        megabytes = sum(row.bytes or 0 for row in of_stage) / 1e6
        numbers = [
            *((each, str(each)) for each in counts),
            (seconds, f"{seconds:.1f}"),
            (megabytes, f"{megabytes:.1f}"),
        ]
        rows.append({"stage": stage, "numbers": numbers})
    return rows


def _sortable(value: float | int | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

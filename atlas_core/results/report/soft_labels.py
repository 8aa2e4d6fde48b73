"""How soft the soft labels were, for the report."""

from __future__ import annotations

from typing import Any

import duckdb

from atlas_core.results.database import query
from atlas_core.results.formatting import number
from atlas_core.results.tables import PROTOCOL_TITLES

LABELS = ("protocol", "dataset", "source", "ε")
NUMBERS = ("shots", "temperature", "entropy", "true class %", "next three %", "target off the class %")


def soft_label_rows(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """A row for each kind of soft labels and training set."""
    found = query(
        con, "FROM soft_labels ORDER BY protocol, dataset, source, mix, soft_temperature, shots"
    ).to_pylist()
    return [
        {
            "labels": [
                PROTOCOL_TITLES.get(row["protocol"], row["protocol"]),
                row["dataset"],
                row["source"],
                f"{row['mix']:g}",
            ],
            "numbers": [
                (row["shots"], str(row["shots"])),
                (row["soft_temperature"], number(row["soft_temperature"])),
                (row["soft_entropy"], number(row["soft_entropy"], 3)),
                *(
                    (row[each], number(100 * row[each]))
                    for each in ("soft_true_mass", "soft_top3_mass", "off_class")
                ),
            ],
        }
        for row in found
    ]


def one_hot_warning(con: duckdb.DuckDBPyConnection) -> str:
    """A sentence about soft targets that are nearly one-hot; empty where there are none."""
    rows = query(
        con, "SELECT source, list(DISTINCT dataset ORDER BY dataset) AS datasets FROM soft_labels "
        "WHERE nearly_one_hot GROUP BY source ORDER BY source"
    ).to_pylist()  # fmt: skip
    if not rows:
        return ""
    where = "; ".join(f"{row['source']} on {', '.join(row['datasets'])}" for row in rows)
    return (
        f"Nearly one-hot soft targets: {where}. On average less than 1 % of their mass lies on other classes,"
        " so these runs train like one_hot."
    )

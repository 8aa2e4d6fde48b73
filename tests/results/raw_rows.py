"""Tables computed by pandas from the raw rows, to hold the printed ones against."""

import json

import numpy as np

from atlas_core.results.rendering import table
from atlas_core.results.tables import build_table

ARM = ["method", "supervision", "setting"]


def setting_words(row):
    """The only arms that need words: ATLaS with CSL on CoOp in base-to-new, where the ablation varies it."""
    if (row.protocol, row.method, row.supervision) != ("base_to_new", "coop", "atlas_csl"):
        return ""
    temperature = "default" if np.isnan(row.temperature) else f"{row.temperature:g}"
    return f"K={int(row.period)}, ε={row.mix:g}, T={temperature}"


def cells(name, con, what="value", full=True):
    """The table's numbers: (block, labels..., column) -> value."""
    found = json.loads(table(name, con, "json", full=full))
    labels = list(build_table(con, name, full=full).labels)
    out = {(row["block"], *(row[label] for label in labels), row["column"]): row[what] for row in found}
    assert len(out) == len(found), "two numbers in one place"
    return {key: value for key, value in out.items() if value is not None}


def harmonic(base, new):
    return 2 * base * new / (base + new)


def protocol_rows(world, protocol):
    _, runs, metrics = world
    joined = runs[runs.protocol == protocol].merge(metrics[metrics.protocol == protocol], on="run_id")
    return joined.drop(columns="protocol_y").rename(columns={"protocol_x": "protocol"})


def deltas_of(values, baseline_arm, sides=1):
    """Value minus that of the one_hot arm of the same method in the same block and column."""
    out = {}
    for (block, method, supervision, setting, column), value in values.items():
        base = values.get((block, method, "one_hot", "", column))
        if supervision != "one_hot" and base is not None:
            out[block, method, supervision, setting, column] = value - base
    return out


def wide_base_to_new(world):
    rows = protocol_rows(world, "base_to_new")
    wide = rows.pivot_table(
        index=["dataset", *ARM, "seed"], columns="subset", values="accuracy"
    ).reset_index()
    return wide.assign(H=harmonic(wide.base, wide.new))

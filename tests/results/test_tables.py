"""Every table equals what pandas computes from the raw rows alone, with whole and with missing seeds."""

import pandas as pd
import pytest
from raw_rows import ARM, cells, deltas_of, harmonic, protocol_rows, wide_base_to_new

from atlas_core.errors import AtlasError
from atlas_core.results.database import connect
from atlas_core.results.rendering import table
from atlas_core.results.schemas import rows_to_table, write_tables
from atlas_core.results.tables import build_table, table_names

PROTOCOL_TABLES = {
    "base-to-new", "cross-dataset", "domain-generalization", "few-shot", "supervision-comparison", "ablation",
    "runtime", "calibration", "statistics", "published",
}  # fmt: skip


def base_to_new_values(wide):
    means = wide.groupby(["dataset", *ARM])[["base", "new"]].mean()
    average = means.groupby(level=ARM).mean()
    values = {}
    for title, frame in [*means.groupby(level=0), ("Average over 4 datasets", average)]:
        flat = frame.droplevel(0) if title != "Average over 4 datasets" else frame
        for arm, row in flat.iterrows():
            numbers = {"base": row.base, "new": row.new, "H": harmonic(row.base, row.new)}
            values |= {(title, *arm, column): value for column, value in numbers.items()}
    return values


def test_base_to_new(world):
    values = base_to_new_values(wide_base_to_new(world))
    assert cells("base-to-new", world[0]) == pytest.approx(values)
    assert cells("base-to-new", world[0], "delta") == pytest.approx(deltas_of(values, "one_hot"))


def test_base_to_new_spread_is_ddof_0_over_seeds_of_the_average_too(world):
    wide = wide_base_to_new(world)
    expected = {}
    for (dataset, *arm), group in wide.groupby(["dataset", *ARM]):
        if len(group) > 1:
            expected |= {
                (dataset, *arm, column): group[column].std(ddof=0) for column in ("base", "new", "H")
            }
    for arm, group in wide.groupby(ARM):
        by_seed = group.groupby("seed")
        whole = by_seed.size() == group.dataset.nunique()
        seeds = by_seed[["base", "new"]].mean()[whole]
        if group.groupby("dataset").seed.nunique().min() > 1 and len(seeds):
            seeds = seeds.assign(H=harmonic(seeds.base, seeds.new))
            expected |= {
                ("Average over 4 datasets", *arm, column): seeds[column].std(ddof=0) for column in seeds
            }
    assert cells("base-to-new", world[0], "std") == pytest.approx(expected)


def test_base_to_new_best_and_second_best_are_those_of_the_printed_numbers(world):
    values = base_to_new_values(wide_base_to_new(world))
    places = cells("base-to-new", world[0], "place")
    for block, column in {(key[0], key[-1]) for key in values}:
        printed = {
            key: round(value, 2) for key, value in values.items() if (key[0], key[-1]) == (block, column)
        }
        ranking = sorted(set(printed.values()), reverse=True)
        for key, value in printed.items():
            assert places[key] == {ranking[0]: 1, ranking[1]: 2}.get(value, 0)


def test_the_summary_of_base_to_new_shows_each_datasets_h(world):
    values = base_to_new_values(wide_base_to_new(world))
    expected = {
        ("H by dataset", *key[1:-1], key[0]): value
        for key, value in values.items()
        if key[-1] == "H" and not key[0].startswith("Average")
    }
    found = cells("base-to-new", world[0], full=False)
    assert {key: value for key, value in found.items() if key[0] == "H by dataset"} == pytest.approx(expected)


@pytest.mark.parametrize("protocol", ["cross_dataset", "domain_generalization"])
def test_transfer(world, protocol):
    rows = protocol_rows(world, protocol)
    means = rows.groupby([*ARM, "target"]).accuracy.mean()
    values = {
        ("Trained on things", *arm, "things (trained)" if target == "things" else target): value
        for (*arm, target), value in means.items()
    }
    targets = means[means.index.get_level_values("target") != "things"]
    average = targets.groupby(level=ARM).mean()
    values |= {("Trained on things", *arm, "average"): value for arm, value in average.items()}
    name = protocol.replace("_", "-")
    assert cells(name, world[0]) == pytest.approx(values)
    assert cells(name, world[0], "delta") == pytest.approx(deltas_of(values, "one_hot"))
    seeds = rows[rows.target != "things"].groupby([*ARM, "seed"]).accuracy.mean()
    spread = {
        ("Trained on things", *arm, "average"): group.std(ddof=0)
        for arm, group in seeds.groupby(level=ARM)
        if len(group) > 1
    }
    found = cells(name, world[0], "std")
    assert {key: value for key, value in found.items() if key[-1] == "average"} == pytest.approx(spread)


def test_few_shot(world):
    rows = protocol_rows(world, "few_shot")
    rows["column"] = rows.shots.map(lambda shots: "1 shot" if shots == 1 else f"{shots} shots")
    means = rows.groupby(["dataset", *ARM, "column"]).accuracy.mean()
    values = means.to_dict()
    average = means.groupby(level=[*ARM, "column"]).mean()
    values |= {("Average over 4 datasets", *key): value for key, value in average.items()}
    assert cells("few-shot", world[0]) == pytest.approx(values)
    assert cells("few-shot", world[0], "delta") == pytest.approx(deltas_of(values, "one_hot"))


def test_supervision_comparison_pairs_seeds(world):
    wide = wide_base_to_new(world)
    one_hot = wide[wide.supervision == "one_hot"]
    pairs = wide[~wide.supervision.isin(["one_hot", "none"])].merge(
        one_hot, on=["dataset", "method", "seed"], suffixes=("", "_o")
    )
    numbers = ["base", "new", "base_o", "new_o"]
    means = pairs.groupby(["dataset", *ARM])[numbers].mean()
    average = pd.concat({"Average over 4 datasets": means.groupby(level=ARM).mean()}, names=["dataset"])
    values, deltas = {}, {}
    for key, row in pd.concat([means, average]).iterrows():
        h, h_o = harmonic(row.base, row.new), harmonic(row.base_o, row.new_o)
        values |= {(*key, "base"): row.base, (*key, "new"): row.new, (*key, "H"): h}
        deltas |= {
            (*key, "base"): row.base - row.base_o,
            (*key, "new"): row.new - row.new_o,
            (*key, "H"): h - h_o,
        }
    plain = {key: value for key, value in base_to_new_values(wide).items() if key[2] == "one_hot"}
    assert cells("supervision-comparison", world[0]) == pytest.approx(values | plain)
    assert cells("supervision-comparison", world[0], "delta") == pytest.approx(deltas)


def test_ablation(world):
    """Every level of a factor is averaged over the same datasets: those on which all of its levels were tried."""
    means = wide_base_to_new(world).groupby(["dataset", *ARM])[["base", "new"]].mean()
    default, half, fifty = "ε=1, T=default", "ε=0.5, T=default", "ε=1, T=50"

    def period(method, source, setting, levels):
        arms = {"∞": (method, "one_hot", ""), **levels}
        return {("K (average)", method, source, setting, level): arm for level, arm in arms.items()}

    csl = {"1": ("coop", "csl", ""), "2": ("coop", "atlas_csl", f"K=2, {default}")}
    factors = [
        period("coop", "csl", default, {**csl, "5": ("coop", "atlas_csl", f"K=5, {default}")}),
        period("coop", "csl", half, {"5": ("coop", "atlas_csl", f"K=5, {half}")}),
        period("coop", "csl", fifty, {"5": ("coop", "atlas_csl", f"K=5, {fifty}")}),
        period("coop", "isl", "", {"5": ("coop", "atlas_isl", "")}),
        period("kgcoop", "csl", "", {"1": ("kgcoop", "csl", ""), "5": ("kgcoop", "atlas_csl", "")}),
        period("kgcoop", "isl", "", {"5": ("kgcoop", "atlas_isl", "")}),
        {
            ("ε (average)", "coop", "atlas_csl", "", "0.5"): ("coop", "atlas_csl", f"K=5, {half}"),
            ("ε (average)", "coop", "atlas_csl", "", "1"): ("coop", "atlas_csl", f"K=5, {default}"),
        },
        {
            ("temperature (average)", "coop", "atlas_csl", "", "50"): ("coop", "atlas_csl", f"K=5, {fifty}"),
            ("temperature (average)", "coop", "atlas_csl", "", "default"): (
                "coop",
                "atlas_csl",
                f"K=5, {default}",
            ),
        },
    ]
    expected = {}
    for levels in factors:
        tried = [set(means.xs(arm, level=ARM).index) for arm in levels.values()]
        shared = sorted(set.intersection(*tried))
        for key, arm in levels.items():
            base, new = means.xs(arm, level=ARM).loc[shared].mean()
            expected |= {(*key, "base"): base, (*key, "new"): new, (*key, "H"): harmonic(base, new)}
    assert cells("ablation", world[0], full=False) == pytest.approx(expected)


def test_a_collapsed_run_is_marked_and_kept(tables, tmp_path):
    runs = tables["runs"].to_pylist()
    broken = next(row for row in runs if row["protocol"] == "base_to_new" and row["supervision"] == "ls")
    broken["final_loss"] = float("inf")
    write_tables(tmp_path, {**tables, "runs": rows_to_table("runs", runs)})
    text = table("base-to-new", connect(tmp_path))
    assert "†" in text
    assert "a collapsed run is among the seeds" in text
    assert "collapsed" not in table("base-to-new", connect_whole(tables, tmp_path / "whole"))


def connect_whole(tables, folder):
    write_tables(folder, tables)
    return connect(folder)


def test_an_average_over_fewer_datasets_is_marked(world):
    text = table("base-to-new", world[0])
    ragged = (
        len(wide_base_to_new(world).query("supervision == 'csl' and method == 'coop'").dataset.unique()) < 4
    )
    assert ("covers fewer datasets" in text) == ragged


def test_every_promised_table_is_there():
    assert set(table_names()) == PROTOCOL_TABLES


def test_an_unknown_table_suggests_a_known_one(con):
    with pytest.raises(AtlasError, match="did you mean 'base-to-new'"):
        build_table(con, "base-to-nwe")


def test_a_table_without_results_says_what_there_is(tmp_path):
    with pytest.raises(AtlasError, match=r"no results for the table 'few-shot'.*none at all"):
        build_table(connect(tmp_path), "few-shot")


def test_the_newer_of_two_results_of_one_setting_counts(tables, tmp_path):
    newer = tables["metrics"].to_pylist()
    for row in newer:
        row.update(run_id="n" + row["run_id"], accuracy=50.0)
    runs = [{**row, "run_id": "n" + row["run_id"]} for row in tables["runs"].to_pylist()]
    write_tables(tmp_path / "old", tables)
    write_tables(
        tmp_path / "new",
        {**tables, "runs": rows_to_table("runs", runs), "metrics": rows_to_table("metrics", newer)},
    )
    found = cells("base-to-new", connect([tmp_path / "new", tmp_path / "old"]))
    assert set(found.values()) == {50.0}

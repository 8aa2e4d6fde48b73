"""Comparisons pair what belongs together, test what can be tested, and say so in words."""

import numpy as np
import pandas as pd
import pytest

from atlas_core.results.comparisons import Pair, compare, load_pairs
from atlas_core.results.database import connect
from atlas_core.results.schemas import rows_to_table, write_tables

ARM = ("coop", "atlas_csl", "")


def pairs(differences, arm=ARM, collapsed=()):
    """Pairs of datasets d0, d1, ... from rows of seeds."""
    return [
        Pair("base_to_new", "new", f"d{place}", seed, value, (place, seed) in collapsed, arm)
        for place, seeds in enumerate(differences)
        for seed, value in enumerate(seeds, start=1)
    ]


def only(found):
    (comparison,) = found
    return comparison


def test_the_mean_is_that_of_the_datasets_means_and_seeds_are_averaged_over_datasets():
    found = only(compare(pairs([[1.0, 3.0], [5.0, 7.0], [-1.0, -3.0]])))
    assert found.mean == pytest.approx(2.0)
    assert (found.wins, found.ties, found.losses) == (2, 0, 1)
    assert found.over_seeds.spread.mean == pytest.approx(2.0)
    assert found.over_seeds.spread.std == pytest.approx(1 / 3)  # 5/3 and 7/3
    assert found.places["d1"].spread.mean == pytest.approx(6.0)


def test_a_seed_that_a_dataset_lacks_is_no_seed_of_the_average():
    found = only(compare(pairs([[1.0, 3.0], [5.0]])))
    assert found.over_seeds.spread.n == 1
    assert "One seed" in found.verdict


def test_four_datasets_get_no_test_and_a_verdict_that_says_why():
    found = only(compare(pairs([[1.0, 2.0, 3.0]] * 4)))
    assert found.p is None
    assert found.p_holm is None
    assert "No test: with 4 datasets" in found.verdict
    assert "0.125" in found.verdict


def test_six_datasets_and_two_arms_cannot_pass_holm_and_the_verdict_says_so():
    rising = [[float(k), k + 0.5] for k in range(1, 7)]
    found = compare([*pairs(rising), *pairs(rising, ("coop", "ls", ""))])
    assert [each.p for each in found] == [None, None]
    assert "Holm's correction over 2 comparisons" in found[0].verdict


def test_eleven_datasets_that_agree_differ_from_one_hot():
    rising = [[k + 0.1, k + 0.2, k + 0.3] for k in range(11)]
    mixed = [[(-1.0) ** k * (k + 1)] * 3 for k in range(11)]
    better, other = compare([*pairs(rising), *pairs(mixed, ("coop", "ls", ""))])
    assert better.p == pytest.approx(2 / 2**11)
    assert better.p_holm == pytest.approx(2 * better.p)
    assert better.family == 2
    assert "a difference from one-hot" in better.verdict
    assert other.p_holm > 0.05
    assert "not to be told from chance" in other.verdict


def test_collapsed_pairs_are_counted_and_named():
    found = only(compare(pairs([[1.0, -40.0], [2.0, 1.0]], collapsed={(0, 2)})))
    assert found.n_collapsed == 1
    assert found.mean == pytest.approx((-19.5 + 1.5) / 2)
    assert "1 pair has a collapsed run; it is counted." in found.verdict


def test_pairs_equal_a_merge_of_the_raw_rows(con, tables):
    metrics = tables["metrics"].to_pandas()
    runs = tables["runs"].to_pandas()
    joined = runs.merge(metrics, on=["run_id", "protocol"])
    joined = joined[(joined.protocol == "cross_dataset") & (joined.target != joined.dataset)]
    one_hot = joined[joined.supervision == "one_hot"]
    other = joined[~joined.supervision.isin(["one_hot", "none"])]
    merged = other.merge(one_hot, on=["dataset", "method", "shots", "seed", "target"], suffixes=("", "_o"))
    expected = {
        (row.method, row.supervision, row.target, row.seed): row.accuracy - row.accuracy_o
        for row in merged.itertuples()
    }
    found = {
        (*pair.arm[:2], pair.place, pair.seed): pair.difference for pair in load_pairs(con, ["cross_dataset"])
    }
    assert found.keys() == expected.keys()
    assert list(found.values()) == pytest.approx([expected[key] for key in found])


def test_base_to_new_pairs_hold_each_runs_h(con, tables):
    runs, metrics = tables["runs"].to_pandas(), tables["metrics"].to_pandas()
    wide = runs[runs.protocol == "base_to_new"].merge(
        metrics[metrics.protocol == "base_to_new"].pivot(index="run_id", columns="subset", values="accuracy"),
        on="run_id",
    )
    wide["h"] = 2 * wide.base * wide.new / (wide.base + wide.new)
    plain = wide[(wide.supervision == "one_hot") & (wide.method == "kgcoop")].set_index(["dataset", "seed"]).h
    soft = wide[(wide.supervision == "csl") & (wide.method == "kgcoop")].set_index(["dataset", "seed"]).h
    expected = (soft - plain).to_dict()
    found = {
        (pair.place, pair.seed): pair.difference
        for pair in load_pairs(con, ["base_to_new"])
        if pair.measure == "h" and pair.arm[:2] == ("kgcoop", "csl")
    }
    assert found == pytest.approx(expected)
    comparison = next(
        each for each in compare(load_pairs(con)) if each.measure == "h" and each.arm[:2] == ("kgcoop", "csl")
    )
    assert comparison.mean == pytest.approx(pd.Series(expected).groupby(level=0).mean().mean())


def test_arms_trained_on_two_sources_are_compared_apart(tables, tmp_path):
    runs = [row for row in tables["runs"].to_pylist() if row["protocol"] == "cross_dataset"]
    metrics = [row for row in tables["metrics"].to_pylist() if row["protocol"] == "cross_dataset"]
    other_runs = [{**row, "run_id": "x" + row["run_id"], "dataset": "shapes"} for row in runs]
    other_metrics = [
        {**row, "run_id": "x" + row["run_id"], "accuracy": min(100.0, row["accuracy"] + 1)} for row in metrics
    ]
    both = {
        "runs": rows_to_table("runs", runs + other_runs),
        "metrics": rows_to_table("metrics", metrics + other_metrics),
    }
    write_tables(tmp_path, {**tables, **both})
    settings = {each.arm[2] for each in compare(load_pairs(connect(tmp_path), ["cross_dataset"]))}
    assert settings == {"trained on things", "trained on shapes"}
    assert np.all([each.startswith("trained on") for each in settings])


def test_nothing_to_compare_is_no_error(tmp_path):
    assert compare(load_pairs(connect(tmp_path))) == []

"""Every table equals what pandas computes from the raw rows alone, with whole and with missing seeds."""

import json

import numpy as np
import pandas as pd
import pytest

from atlas_core.errors import AtlasError
from atlas_core.resources import data_path
from atlas_core.results.database import connect
from atlas_core.results.rendering import table
from atlas_core.results.schemas import rows_to_table, write_tables
from atlas_core.results.tables import build_table, table_names

ARM = ["method", "supervision", "setting"]
PROTOCOL_TABLES = {
    "base-to-new", "cross-dataset", "domain-generalization", "few-shot", "supervision-comparison", "ablation",
    "runtime", "calibration", "statistics", "published",
}  # fmt: skip


@pytest.fixture(scope="module", params=["whole", "ragged"])
def world(request, tables, tmp_path_factory):
    """Raw rows and a database over them; ragged ones lack a seed here and a dataset there."""
    runs, metrics = tables["runs"].to_pandas(), tables["metrics"].to_pandas()
    if request.param == "ragged":
        gone = (
            ((runs.seed == 2) & (runs.dataset == "shapes") & (runs.supervision == "one_hot"))
            | ((runs.seed == 3) & (runs.supervision == "ls") & (runs.method == "kgcoop"))
            | ((runs.dataset == "digits") & (runs.supervision == "csl") & (runs.method == "coop"))
        )
        runs = runs[~gone]
        metrics = metrics.merge(runs[["run_id", "protocol"]].drop_duplicates())
    folder = tmp_path_factory.mktemp(request.param)
    plain = {
        name: rows_to_table(name, frame.astype(object).where(frame.notna(), None).to_dict("records"))
        for name, frame in (("runs", runs), ("metrics", metrics))
    }
    write_tables(folder, {**tables, **plain})
    runs = runs.assign(setting=[setting_words(row) for row in runs.itertuples()])
    return connect(folder), runs, metrics


def setting_words(row):
    """The only arms that need words: ATLaS with CSL on CoOp in base-to-new, where the ablation varies it."""
    if (row.protocol, row.method, row.supervision) != ("base_to_new", "coop", "atlas_csl"):
        return ""
    temperature = "model's" if np.isnan(row.temperature) else f"{row.temperature:g}"
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
    values = base_to_new_values(wide_base_to_new(world))

    def average(method, supervision, setting=""):
        block = "Average over 4 datasets"
        return {
            column: values[block, method, supervision, setting, column] for column in ("base", "new", "H")
        }

    model = "ε=1, T=model's"
    expected = {
        ("K (average)", "coop", "csl", model, "1"): average("coop", "csl"),
        ("K (average)", "coop", "csl", model, "2"): average("coop", "atlas_csl", f"K=2, {model}"),
        ("K (average)", "coop", "csl", model, "5"): average("coop", "atlas_csl", f"K=5, {model}"),
        ("K (average)", "coop", "csl", "ε=0.5, T=model's", "5"): average(
            "coop", "atlas_csl", "K=5, ε=0.5, T=model's"
        ),
        ("K (average)", "coop", "csl", "ε=1, T=50", "5"): average("coop", "atlas_csl", "K=5, ε=1, T=50"),
        ("K (average)", "coop", "isl", "", "5"): average("coop", "atlas_isl"),
        ("K (average)", "kgcoop", "csl", "", "1"): average("kgcoop", "csl"),
        ("K (average)", "kgcoop", "csl", "", "5"): average("kgcoop", "atlas_csl"),
        ("K (average)", "kgcoop", "isl", "", "5"): average("kgcoop", "atlas_isl"),
        ("ε (average)", "coop", "atlas_csl", "", "0.5"): average(
            "coop", "atlas_csl", "K=5, ε=0.5, T=model's"
        ),
        ("ε (average)", "coop", "atlas_csl", "", "1"): average("coop", "atlas_csl", f"K=5, {model}"),
        ("temperature (average)", "coop", "atlas_csl", "", "50"): average(
            "coop", "atlas_csl", "K=5, ε=1, T=50"
        ),
        ("temperature (average)", "coop", "atlas_csl", "", "model's"): average(
            "coop", "atlas_csl", f"K=5, {model}"
        ),
    }
    for method, source, settings in (
        ("coop", "csl", (model, "ε=0.5, T=model's", "ε=1, T=50")),
        ("coop", "isl", ("",)),
        ("kgcoop", "csl", ("",)),
        ("kgcoop", "isl", ("",)),
    ):
        for setting in settings:
            expected["K (average)", method, source, setting, "∞"] = average(method, "one_hot")
    flat = {(*key, column): value for key, row in expected.items() for column, value in row.items()}
    assert cells("ablation", world[0], full=False) == pytest.approx(flat)


def test_runtime(world, tables):
    con, runs, _ = world
    trained = runs[runs.method != "zero_shot"]
    artifacts = tables["artifacts"].to_pandas()
    expected = {}
    for stage, group in artifacts.groupby("stage"):
        numbers = {
            "artifacts": len(group),
            "wall s": group.wall_seconds.sum(),
            "CPU s": group.cpu_seconds.sum(),
            "wall %": 100 * group.wall_seconds.sum() / artifacts.wall_seconds.sum(),
        }
        expected |= {("By stage", stage, "", "", column): value for column, value in numbers.items()}
    for (method, supervision, dataset), group in trained.groupby(["method", "supervision", "dataset"]):
        numbers = {
            "runs": len(group),
            "wall s": group.wall_seconds.mean(),
            "CPU s": group.cpu_seconds.mean(),
            "s an epoch": group.wall_seconds.sum() / group.epochs.sum(),
            "parameters": group.learned_parameters.max(),
        }
        expected |= {
            ("One training, mean", method, supervision, dataset, column): value
            for column, value in numbers.items()
        }
    assert cells("runtime", con) == pytest.approx(expected)
    seconds = artifacts.groupby("stage").wall_seconds.sum()
    share = 100 * (seconds.csl + seconds.isl) / seconds.tune
    assert build_table(con, "runtime").notes == (
        f"making csl and isl took {seconds.csl + seconds.isl:.3g} s, {share:.2g} % of the training time",
    )


def test_calibration(world, tables):
    con = world[0]
    predictions = tables["predictions"].to_pandas()
    confidence = predictions.groupby(["run_id", "target", "subset"]).probability.mean().rename("confidence")
    expected = {}
    for protocol, heading, subset in (
        ("base_to_new", "Base-to-new, base classes", "base"),
        ("base_to_new", "Base-to-new, new classes", "new"),
        ("cross_dataset", "Cross-dataset", "all"),
        ("domain_generalization", "Domain generalization", "all"),
    ):
        rows = protocol_rows(world, protocol).merge(
            confidence.reset_index(), on=["run_id", "target", "subset"]
        )
        rows = rows[(rows.subset == subset)]
        if protocol != "base_to_new":
            rows = rows[rows.target != "things"]
        rows["over"] = 100 * rows.confidence - rows.accuracy
        numbers = ["accuracy", "ece", "nll", "over"]
        means = rows.groupby(["target", *ARM])[numbers].mean().groupby(level=ARM).mean()
        for arm, row in means.iterrows():
            for column, name in zip(("accuracy %", "ECE %", "NLL", "overconfidence"), numbers, strict=True):
                expected[f"{heading} (average)", *arm, column] = row[name]
    found = {
        key: value
        for key, value in cells("calibration", con, full=False).items()
        if not key[0].startswith("Few-shot")
    }
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)  # probabilities are float32


def test_the_smallest_calibration_error_is_the_best(world):
    places = cells("calibration", world[0], "place", full=False)
    values = cells("calibration", world[0], full=False)
    block = "Base-to-new, new classes (average)"
    errors = {key: value for key, value in values.items() if key[0] == block and key[-1] == "ECE %"}
    assert places[min(errors, key=errors.get)] == 1
    assert not any(place for key, place in places.items() if key[-1] == "overconfidence")


def test_statistics_means_are_those_of_paired_raw_rows(world):
    wide = wide_base_to_new(world)
    one_hot = wide[wide.supervision == "one_hot"]
    pairs = wide[~wide.supervision.isin(["one_hot", "none"])].merge(
        one_hot, on=["dataset", "method", "seed"], suffixes=("", "_o")
    )
    pairs["difference"] = pairs.new - pairs.new_o
    by_place = pairs.groupby([*ARM, "dataset"]).difference
    expected = {
        ("Base-to-new: new classes, by dataset", *key, "difference"): value
        for key, value in by_place.mean().items()
    }
    expected |= {
        ("Base-to-new: new classes, by dataset", *key, "std (ddof 0)"): value
        for key, value in by_place.std(ddof=0).items()
        if by_place.size()[key] > 1
    }
    expected |= {
        ("Base-to-new: new classes", *arm, "", "difference"): value
        for arm, value in by_place.mean().groupby(level=ARM).mean().items()
    }
    found = cells("statistics", world[0])
    chosen = {
        key: value
        for key, value in found.items()
        if key[0].startswith("Base-to-new: new classes") and key[-1] in ("difference", "std (ddof 0)")
    }
    assert chosen == pytest.approx(expected)


def test_published_averages_are_those_of_the_file(world):
    raw = pd.read_csv(data_path("published", "reference_results.csv"))
    raw = raw[(raw.setting == "base_to_new") & (raw.dataset == "average11")]
    expected = {
        ("Published: Base-to-new", row.method, row.source, row.metric): row.value for row in raw.itertuples()
    }
    found = cells("published", world[0], full=False)
    assert {(key[0], key[1], key[4], key[5]): value for key, value in found.items()} == pytest.approx(
        expected
    )


def test_ours_minus_published_compares_equal_measurements_only(tables, tmp_path):
    runs = tables["runs"].to_pylist()
    renamed = {"things": "imagenet", "shapes": "dtd", "textures": "eurosat", "digits": "fgvc_aircraft"}
    runs = [
        {**row, "backbone": "ViT-B-16-quickgelu/openai", "dataset": renamed[row["dataset"]]} for row in runs
    ]
    metrics = [
        {**row, "target": renamed.get(row["target"], row["target"])} for row in tables["metrics"].to_pylist()
    ]
    write_tables(
        tmp_path, {"runs": rows_to_table("runs", runs), "metrics": rows_to_table("metrics", metrics)}
    )
    con = connect(tmp_path)
    ours = cells("base-to-new", con)
    raw = pd.read_csv(data_path("published", "reference_results.csv"))
    raw = raw[(raw.setting == "base_to_new") & raw.method.isin(["CLIP", "CoOp", "KgCoOp"])]
    raw = raw[raw.dataset.isin(["imagenet", "dtd", "eurosat", "fgvc"])]
    names = {"CLIP": ("zero_shot", "none"), "CoOp": ("coop", "one_hot"), "KgCoOp": ("kgcoop", "one_hot")}
    expected = {}
    for row in raw.itertuples():
        dataset = {"fgvc": "fgvc_aircraft"}.get(row.dataset, row.dataset)
        column = {"h": "H"}.get(row.metric, row.metric)
        value = ours[dataset, *names[row.method], "", column]
        expected[names[row.method][0], f"{dataset}, {row.metric}", row.source] = value - row.value
    found = {
        (key[1], key[2], key[4]): value
        for key, value in cells("published", con).items()
        if key[0] == "Ours minus published"
        and key[-1] == "ours − published"
        and key[2].split(", ")[1] != "acc"
    }
    assert found == pytest.approx(expected)


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

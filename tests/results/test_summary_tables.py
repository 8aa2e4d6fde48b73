"""Runtime, calibration, statistics and published tables equal what pandas computes from the raw rows."""

import pandas as pd
import pytest
from raw_rows import ARM, cells, protocol_rows, wide_base_to_new

from atlas_core.resources import data_path
from atlas_core.results.database import connect
from atlas_core.results.schemas import rows_to_table, write_tables
from atlas_core.results.tables import build_table


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

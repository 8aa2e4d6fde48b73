"""Runtime, calibration, statistics and published tables equal what pandas computes from the raw rows."""

import pandas as pd
import pytest
from raw_rows import ARM, cells, protocol_rows, wide_base_to_new
from synthetic import dataset_row

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
    published = [dataset_row(name, published=name) for name in renamed.values()]
    datasets = rows_to_table("datasets", published)
    write_tables(
        tmp_path,
        {
            "runs": rows_to_table("runs", runs),
            "metrics": rows_to_table("metrics", metrics),
            "datasets": datasets,
        },
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


def compared(folder, backbone="ViT-B-16-quickgelu/openai", names=("eurosat",), **of_dataset):
    """`ours_minus_published` of zero-shot CLIP on all classes of datasets."""
    run = {"protocol": "few_shot", "method": "zero_shot", "supervision": "none", "shots": 0, "seed": 0,
           "backbone": backbone, "epochs": 0, "options": "{}"}  # fmt: skip
    metric = {"protocol": "few_shot", "subset": "all", "n_classes": 10, "n_samples": 60, "accuracy": 50.0}
    tables = {
        "runs": [{**run, "run_id": name, "dataset": name} for name in names],
        "metrics": [{**metric, "run_id": name, "target": name} for name in names],
        "datasets": [dataset_row(name, **{"published": name, **of_dataset}) for name in names],
    }
    write_tables(folder, {name: rows_to_table(name, rows) for name, rows in tables.items()})
    return connect(folder).sql("SELECT dataset, published, partial FROM ours_minus_published").fetchall()


def test_a_whole_published_dataset_stands_beside_its_number(tmp_path):
    assert {row[0] for row in compared(tmp_path)} == {"eurosat"}
    assert all(row[1] is not None and row[2] is None for row in compared(tmp_path))


def test_a_folder_of_ones_own_never_stands_beside_a_published_number(tmp_path):
    assert compared(tmp_path, published=None) == []


def test_a_part_of_a_published_dataset_says_why_it_has_no_published_number(tmp_path):
    why = "classes: 2 here, 10 published"
    found = compared(tmp_path, partial=why)
    assert found
    assert set(found) == {("eurosat", None, why)}


@pytest.mark.parametrize("backbone", ["RN50", "RN50/openai", "RN50-quickgelu/openai", "RN50/my_weights"])
def test_resnet_50_stands_beside_its_numbers(tmp_path, backbone):
    assert compared(tmp_path, backbone)


@pytest.mark.parametrize(
    "backbone",
    ["RN50x4/openai", "RN50x16", "RN50x64-quickgelu/openai", "ViT-B-16-SigLIP/webli", "ViT-B-16-plus-240"],
)
def test_another_architecture_whose_name_starts_alike_stands_beside_no_number(tmp_path, backbone):
    assert compared(tmp_path, backbone) == []


def base_to_new_average(folder, names, published):
    runs = [
        {"run_id": name, "protocol": "base_to_new", "dataset": name, "method": "coop", "supervision": "one_hot",
         "source": "one_hot", "shots": 16, "seed": 1, "backbone": "ViT-B-16/openai", "epochs": 50, "options": "{}"}
        for name in names
    ]  # fmt: skip
    metrics = [
        {"run_id": name, "protocol": "base_to_new", "target": name, "subset": subset, "n_classes": 5, "n_samples": 30,
         "accuracy": 50.0}
        for name in names
        for subset in ("base", "new")
    ]  # fmt: skip
    datasets = [dataset_row(name, published=name if published else None) for name in names]
    tables = {"runs": runs, "metrics": metrics, "datasets": datasets}
    write_tables(folder, {name: rows_to_table(name, rows) for name, rows in tables.items()})
    return connect(folder).sql("FROM ours_minus_published WHERE dataset = 'average'").fetchall()


ELEVEN = (
    "imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101", "fgvc_aircraft", "sun397",
    "dtd", "eurosat", "ucf101",
)  # fmt: skip


def test_an_average_stands_beside_published_ones_over_the_same_eleven_datasets_alone(tmp_path):
    assert base_to_new_average(tmp_path, ELEVEN, published=True)
    assert not base_to_new_average(tmp_path, ELEVEN, published=False)
    assert not base_to_new_average(tmp_path, (*ELEVEN[1:], "imagenetv2"), published=True)
    assert not base_to_new_average(tmp_path, [f"mine{number}" for number in range(11)], published=False)

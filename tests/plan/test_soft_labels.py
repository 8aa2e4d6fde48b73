"""How soft a study's soft labels are stands in its plan, its runs and its report, with a warning where they are not."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.features.cache import read_features
from atlas_core.results.current import open_results
from atlas_core.results.database import query
from atlas_core.stages.tensors import read_text_features
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world, write_yaml

# On random features the model's own scale of 14 is soft, and this is not.
MODEL = 1 / 0.07
SHARP = 2000.0
SUPERVISIONS: list[Any] = [
    "one_hot",
    "csl",
    {"name": "csl", "temperature": SHARP},
    {"name": "csl", "temperature": "model"},
    {"name": "atlas_isl", "temperature": 3.0},
    {"name": "isl", "temperature": 3.0, "mix": 0.01},
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    found = make_world(tmp_path_factory.mktemp("soft"))
    study = found.raw_study(supervisions=SUPERVISIONS, seeds=[1, 2])
    write_yaml(found.home / "study.yaml", study)
    found.run(supervisions=SUPERVISIONS, seeds=[1, 2])
    return found


def said(world: TinyWorld, command: str, *arguments: str) -> str:
    answer = CliRunner().invoke(app, [command, *arguments, "--home", str(world.home)])
    assert answer.exit_code == 0, answer.output
    return answer.output


def slow_instance_labels(world: TinyWorld) -> dict[str, tuple[float, float]]:
    """Mean entropy and true mass at temperature 3 by dataset, over both seeds, from the stored features."""
    store = Store(world.placement.store_path)
    found: dict[str, list[tuple[float, float]]] = {}
    for manifest in store.manifests("image_features"):
        if "/train/" not in manifest.name:
            continue
        dataset = manifest.name.split("/")[1]
        texts = [
            each
            for each in store.manifests("text_features")
            if each.name.startswith(f"text_features/{dataset}/base/own")
        ]
        g = read_text_features(store.path("text_features", texts[0].key)).features.double().numpy()
        table = read_features(store.path("image_features", manifest.key) / "features.parquet")
        for feature, label in zip(table.features.astype(np.float64), table.labels.tolist(), strict=True):
            z = 3.0 * (g / np.linalg.norm(g, axis=1, keepdims=True)) @ (feature / np.linalg.norm(feature))
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            found.setdefault(dataset, []).append((float(-(p * np.log(p)).sum()), float(p[label])))
    return {name: tuple(np.mean(rows, axis=0)) for name, rows in found.items()}  # type: ignore[misc]


def test_the_runs_table_says_how_soft_the_labels_of_each_run_were(world: TinyWorld) -> None:
    con = open_results(Store(world.placement.store_path))
    rows = query(con, "SELECT * FROM runs").to_pylist()
    assert all(row["soft_entropy"] is None for row in rows if row["source"] == "one_hot")
    soft = [row for row in rows if row["source"] in ("csl", "isl")]
    assert len(soft) == 2 * 2 * 5
    assert all(row["soft_true_mass"] + row["soft_top3_mass"] == pytest.approx(1, abs=1e-5) for row in soft)
    expected = slow_instance_labels(world)
    for dataset, (entropy, true_mass) in expected.items():
        own = [row for row in soft if row["dataset"] == dataset and row["supervision"] == "atlas_isl"]
        assert {row["soft_temperature"] for row in own} == {3.0}
        assert np.mean([row["soft_entropy"] for row in own]) == pytest.approx(entropy, abs=1e-5)
        assert np.mean([row["soft_true_mass"] for row in own]) == pytest.approx(true_mass, abs=1e-5)


def test_csl_has_the_temperature_of_its_rule_unless_another_is_asked_for(world: TinyWorld) -> None:
    con = open_results(Store(world.placement.store_path))
    rows = query(con, "SELECT * FROM runs WHERE supervision = 'csl'").to_pylist()
    for dataset in ("ponds", "woods"):
        own = {row["temperature"]: row for row in rows if row["dataset"] == dataset}
        rule, sharp = own.pop(None), own.pop(SHARP)
        assert rule["soft_true_mass"] == pytest.approx(0.9, abs=1e-4)
        assert rule["soft_temperature"] not in (SHARP, pytest.approx(MODEL))
        assert sharp["soft_temperature"] == SHARP
        (model,) = own.values()
        assert model["temperature"] == model["soft_temperature"] == pytest.approx(MODEL, rel=1e-6)
        names = {row["run_name"].split("/")[4] for row in rows}
        assert names == {"csl", "csl(temperature=model)", "csl(temperature=2000)"}


def test_the_view_marks_what_is_nearly_one_hot(world: TinyWorld) -> None:
    con = open_results(Store(world.placement.store_path))
    rows = query(con, "FROM soft_labels").to_pylist()
    marked = {(row["source"], row["mix"], row["temperature"]) for row in rows if row["nearly_one_hot"]}
    assert marked == {("csl", 1.0, SHARP), ("isl", 0.01, 3.0)}
    for row in rows:
        assert row["off_class"] == pytest.approx(row["mix"] * (1 - row["soft_true_mass"]))
        assert row["n_runs"] == 2


def test_the_plan_says_it_and_warns(world: TinyWorld) -> None:
    text = said(world, "plan", str(world.home / "study.yaml"))
    lines = [line.strip() for line in text.splitlines()]
    assert any(
        re.match(r"csl ponds/base: entropy [\d.e-]+ nats, 0\.\d+ on the true class", line) for line in lines
    )
    assert any(
        line.startswith("isl woods/train/base/2-shot/2-views/temperature3: entropy 0.6") for line in lines
    )
    warnings = [line for line in lines if line.startswith("warning")]
    assert len(warnings) == 2
    assert warnings[0].startswith(
        f"warning csl(temperature={SHARP:g}) is nearly one-hot on ponds/base/temperature2000"
    )
    assert warnings[1].startswith(
        "warning isl(mix=0.01,temperature=3) is nearly one-hot on ponds/train/base/2-shot"
    )


def test_the_plan_of_a_study_without_results_says_nothing_of_soft_labels(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    write_yaml(world.home / "study.yaml", world.raw_study())
    assert "soft labels" not in said(world, "plan", str(world.home / "study.yaml"))


def test_the_advice_of_the_warning_works(world: TinyWorld) -> None:
    write_yaml(world.home / "soft.yaml", world.raw_study(supervisions=[{"name": "csl", "temperature": 5.0}]))
    said(world, "run", str(world.home / "soft.yaml"))
    assert "warning" not in said(world, "plan", str(world.home / "soft.yaml"))


def test_the_report_says_it_and_warns(world: TinyWorld, tmp_path: Path) -> None:
    said(world, "report", str(world.home / "study.yaml"), "--output", str(tmp_path / "report.html"))
    html = (tmp_path / "report.html").read_text()
    section = html.partition('id="soft-labels"')[2].partition("</section>")[0]
    assert section.count("<tr>") == 1 + 2 * 5
    assert "Nearly one-hot soft targets: csl on ponds, woods; isl on ponds, woods." in section

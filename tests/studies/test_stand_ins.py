"""CoPrompt without its authors' sentences says so: before it runs, in its rows, and under its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.methods.registry import METHODS
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.remarks import remarks
from atlas_core.results.current import open_results
from atlas_core.results.database import query
from atlas_core.results.report.content import table_views
from atlas_core.results.tables import build_table
from atlas_core.store import Store
from tests.tiny_study import CLASSES, TinyWorld, make_world

STAND_IN = "60 ImageNet templates in place of the authors' GPT-3 sentences"
SHORT = {"epochs": 1, "batch_size": 4, "warmup_epochs": 0}


def coprompt(world: TinyWorld, *, sentences: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"depth": 1}
    if sentences:
        path = world.home / "sentences.json"
        path.write_text(json.dumps({name: [f"A {name} is seen.", f"There is a {name}."] for name in CLASSES}))
        options["sentences_file"] = str(path)
    return {"name": "coprompt", "options": options, "training": SHORT}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    """A finished study of CoPrompt with and without sentences, and CoOp."""
    made = make_world(tmp_path_factory.mktemp("stand-ins"), images=4)
    methods = [
        coprompt(made, sentences=False),
        coprompt(made, sentences=True),
        {"name": "coop", "training": SHORT},
    ]
    observer = made.run(methods=methods, **short(made))
    assert observer.failed == {}
    return made


def short(world: TinyWorld) -> dict[str, Any]:
    return {
        "datasets": [str(world.home / "ponds.yaml")],
        "supervisions": ["one_hot"],
        "views": {"per_image": 2},
        "training": {},
    }


def test_the_plan_names_it_once(world: TinyWorld) -> None:
    def said(*, sentences: bool) -> list[str]:
        study = world.study(methods=[coprompt(world, sentences=sentences)], **short(world))
        return remarks(build_graph(study, world.placement))

    assert said(sentences=False) == [f"coprompt trains with {STAND_IN}"]
    assert said(sentences=True) == []


def test_atlas_plan_prints_it(tmp_path: Path) -> None:
    assert Placement(home=tmp_path)
    arguments = ["plan", "base-to-new", "--preset", "demo", "--set", "methods=[coprompt]"]
    answer = CliRunner().invoke(app, [*arguments, "--home", str(tmp_path)])
    assert f"note coprompt trains with {STAND_IN}" in answer.output


def test_its_runs_have_it_in_a_column_and_are_an_arm_of_their_own(world: TinyWorld) -> None:
    con = open_results(Store(world.placement.store_path))
    rows = query(con, "SELECT method, stand_in, options FROM runs ORDER BY method, stand_in").to_pylist()
    assert [(row["method"], row["stand_in"]) for row in rows] == [
        ("coop", None),
        ("coprompt", STAND_IN),
        ("coprompt", None),
    ]
    assert "sentences" not in json.loads(rows[1]["options"])
    assert len(json.loads(rows[2]["options"])["sentences"]) == 8
    variants = query(con, "SELECT DISTINCT variant FROM evaluations WHERE method = 'coprompt'").to_pylist()
    assert len(variants) == 2


def test_tables_and_the_report_have_it_among_their_notes(world: TinyWorld) -> None:
    con = open_results(Store(world.placement.store_path))
    note = f"coprompt: {STAND_IN}"
    assert note in build_table(con, "base-to-new").notes
    shown = {view["name"]: view["notes"] for view in table_views(con)}
    assert note in shown["base-to-new"]


@pytest.mark.parametrize("name", [each for each in METHODS.names() if each != "coprompt"])
def test_no_other_method_lacks_anything(name: str) -> None:
    assert METHODS.get(name).stand_in({}) == ""

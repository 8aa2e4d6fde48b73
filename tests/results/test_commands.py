"""`atlas sql`, `table`, `figures` and `report` answer from the current results of a store."""

import csv
import io
import json
import os
import random
import shutil
import tarfile
import time

import pytest
import typer
from typer.testing import CliRunner

from atlas_core.errors import AtlasError
from atlas_core.manifest import Manifest
from atlas_core.own_files import LIST
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.records import last_started, record_study, recorded_studies
from atlas_core.plan.resolve import NodeState
from atlas_core.presets import load_study
from atlas_core.results import commands
from atlas_core.results.current import current_aggregates, mark_current, open_results, study_names
from atlas_core.results.database import query
from atlas_core.results.report.study import _plan_rows
from atlas_core.results.schemas import rows_to_table, write_tables
from atlas_core.store import Store

app = typer.Typer(pretty_exceptions_enable=False)
for command in (commands.sql, commands.table, commands.figures, commands.report):
    app.command()(command)


def publish(store, tables, study, protocol="base_to_new", *, version=1, shift=0.0):
    """An aggregate as the stage writes it: the runs of one protocol under a study's name."""
    runs = [{**row, "study": study} for row in tables["runs"].to_pylist() if row["protocol"] == protocol]
    metrics = [
        {**row, "accuracy": row["accuracy"] + shift}
        for row in tables["metrics"].to_pylist()
        if row["protocol"] == protocol
    ]
    whole = {**tables, "runs": rows_to_table("runs", runs), "metrics": rows_to_table("metrics", metrics)}
    parts = {"stage": "aggregate", "config": {"study": study, "protocol": protocol}, "version": version}
    return store.publish(
        "aggregate", f"aggregate/{study}", parts, lambda out: write_tables(out, whole) and None
    )


@pytest.fixture(scope="module")
def home(tables, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    store = Store(home / "store")
    publish(store, tables, "base-to-new-demo")
    publish(store, tables, "few-shot-demo", "few_shot")
    return home


def run(*arguments, stdin=None):
    result = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_sql_answers_over_all_current_studies(home):
    answer = run("sql", "SELECT study, count(*) AS n FROM runs GROUP BY study ORDER BY study", "--home", home,
                 "--format", "json")  # fmt: skip
    assert [row["study"] for row in json.loads(answer)] == ["base-to-new-demo", "few-shot-demo"]


def test_sql_reads_standard_input_and_a_study_can_be_chosen(home):
    answer = run("sql", "--study", "few-shot-demo", "--store", home / "store", "--format", "csv",
                 stdin="SELECT DISTINCT protocol, count(*) AS n\nFROM runs GROUP BY 1;")  # fmt: skip
    assert list(csv.reader(io.StringIO(answer)))[1][0] == "few_shot"


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_sql_prints_tables_for_people(home, format):
    answer = run("sql", "SELECT 'a' AS letter, 1.5 AS number", "--home", home, "--format", format)
    assert "letter" in answer
    assert "1.5" in answer
    assert "\x1b" not in answer


@pytest.mark.parametrize(
    "statement", ["DROP TABLE runs", "COPY runs TO 'x.csv'", "SELECT * FROM read_text('/etc/passwd')"]
)
def test_sql_writes_nothing_and_reads_no_file(home, statement):
    with pytest.raises(AtlasError, match=r"read-only|reads or writes files"):
        run("sql", statement, "--home", home)


def test_an_unknown_format_table_or_study_is_refused_with_suggestions(home):
    with pytest.raises(AtlasError, match="did you mean 'markdown'"):
        run("sql", "SELECT 1", "--format", "markdwn", "--home", home)
    with pytest.raises(AtlasError, match="did you mean 'few-shot'"):
        run("table", "few-shots", "--home", home)
    with pytest.raises(AtlasError, match=r"unknown study with results 'few-shot-dmeo'.*'few-shot-demo'"):
        run("table", "few-shot", "--study", "few-shot-dmeo", "--home", home)


def test_a_store_without_results_says_how_to_get_some(tmp_path):
    with pytest.raises(AtlasError, match=r"no results in the store.*atlas run STUDY"):
        run("sql", "SELECT 1", "--store", tmp_path)


def test_table_prints_a_table_in_a_format(home):
    assert "Average over 4 datasets" in run("table", "base-to-new", "--home", home)
    assert r"\toprule" in run("table", "base-to-new", "--home", home, "--format", "latex")
    assert len(run("table", "few-shot", "--full", "--home", home)) > len(
        run("table", "few-shot", "--home", home)
    )


def test_figures_are_written_to_a_folder(home, tmp_path):
    listed = run("figures", "--study", "few-shot-demo", "--home", home, "--output", tmp_path).split()
    assert sorted(listed) == sorted(str(path) for path in tmp_path.iterdir() if path.name != LIST)
    assert str(tmp_path / "few-shot.svg") in listed


def test_the_newest_aggregate_of_each_study_is_current_where_no_record_says_which(tables, tmp_path):
    store = Store(tmp_path)
    old = publish(store, tables, "demo", version=1)
    time.sleep(0.02)
    new = publish(store, tables, "demo", version=2, shift=-1.0)
    publish(store, tables, "demo", "few_shot")
    assert [each.key for each in current_aggregates(store)].count(new.key) == 1
    assert old.key not in [each.key for each in current_aggregates(store)]
    assert len(current_aggregates(store)) == 2
    assert study_names(store) == ["demo"]


def test_a_study_that_goes_back_to_older_settings_makes_its_aggregate_current(tables, tmp_path):
    store = Store(tmp_path)
    old = publish(store, tables, "demo", version=1)
    new = publish(store, tables, "demo", version=2, shift=-1.0)
    mark_current(store, new.key)
    assert [each.key for each in current_aggregates(store)] == [new.key]
    mark_current(store, old.key)
    assert [each.key for each in current_aggregates(store)] == [old.key]
    mark_current(store, "0" * 64)
    assert [each.key for each in current_aggregates(store)] == [old.key]


def test_studies_stand_in_the_order_in_which_they_finished(tables, tmp_path):
    store = Store(tmp_path)
    for study in ("a", "b", "c"):
        mark_current(store, publish(store, tables, study).key)
    assert study_names(store) == ["c", "b", "a"]
    mark_current(store, next(each.key for each in store.manifests("aggregate") if each.name.endswith("/a")))
    assert study_names(store) == ["a", "c", "b"]


def test_where_the_current_aggregate_is_gone_the_newest_stands_for_it(tables, tmp_path):
    store = Store(tmp_path)
    old = publish(store, tables, "demo", version=1)
    new = publish(store, tables, "demo", version=2, shift=-1.0)
    mark_current(store, old.key)
    store.delete("aggregate", old.key)
    assert [each.key for each in current_aggregates(store)] == [new.key]


def copied_by_cp(source, target):
    """`cp -r`: every file is new."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)


def copied_with_shuffled_times(source, target):
    """What an rsync without times, or a layer of an image, may leave."""
    copied_by_cp(source, target)
    rng = random.Random(7)
    for path in sorted(target.rglob("*")):
        seconds = rng.randrange(2_000_000_000)
        os.utime(path, (seconds, seconds))


def copied_by_tar(source, target):
    with tarfile.open(target.with_suffix(".tar"), "w") as archive:
        archive.add(source, ".", filter=_without_time)
    with tarfile.open(target.with_suffix(".tar")) as archive:
        archive.extractall(target, filter="data")


def _without_time(member):
    member.mtime = 0
    return member


def copied_by_zip(source, target):
    shutil.make_archive(str(target), "zip", source)  # whole seconds, every second one
    shutil.unpack_archive(f"{target}.zip", target)


@pytest.mark.parametrize("copy", [copied_by_cp, copied_with_shuffled_times, copied_by_tar, copied_by_zip])
def test_a_copied_store_shows_the_same_tables(tables, tmp_path, copy):
    store = Store(tmp_path / "store")
    old = publish(store, tables, "demo", version=1)
    publish(store, tables, "demo", version=2, shift=-1.0)
    other = publish(store, tables, "other", version=1, shift=2.0)
    mark_current(store, other.key)
    mark_current(store, old.key)
    for study in ("base-to-new-demo", "few-shot-demo", "cross-dataset-demo"):
        record_study(store, load_study(study))
    record_study(store, load_study("base-to-new-demo"))
    copy(store.root, tmp_path / "copied")
    copied = Store(tmp_path / "copied")
    assert [each.key for each in current_aggregates(copied)] == [old.key, other.key]
    assert run("table", "base-to-new", "--store", copied.root) == run(
        "table", "base-to-new", "--store", store.root
    )
    assert [each.name for each in recorded_studies(copied)] == [
        "base-to-new-demo", "cross-dataset-demo", "few-shot-demo"
    ]  # fmt: skip
    assert last_started(copied, load_study("few-shot-demo")) == last_started(
        store, load_study("few-shot-demo")
    )


def test_a_study_recorded_by_an_earlier_version_is_the_oldest(tmp_path):
    store = Store(tmp_path)
    for study in ("base-to-new-demo", "few-shot-demo"):
        record_study(store, load_study(study))
    plain = load_study("cross-dataset-demo").model_dump(mode="json")
    plain["backbone"]["device"] = "auto"
    (tmp_path / ".studies" / "cross-dataset-demo.json").write_text(json.dumps(plain))
    assert [each.name for each in recorded_studies(store)] == [
        "few-shot-demo", "base-to-new-demo", "cross-dataset-demo"
    ]  # fmt: skip


def test_a_damaged_record_is_named_and_running_the_study_again_mends_it(tables, tmp_path):
    store = Store(tmp_path)
    key = publish(store, tables, "demo").key
    mark_current(store, publish(store, tables, "other").key)
    (tmp_path / ".results" / "demo@base_to_new.json").write_text('{"number": 7')
    with pytest.raises(
        AtlasError, match=r"demo@base_to_new\.json of a study's results.*run that study again"
    ):
        current_aggregates(store)
    mark_current(store, key)
    assert study_names(store) == ["demo", "other"]


def test_where_two_studies_share_a_setting_the_newer_result_counts(tables, tmp_path):
    store = Store(tmp_path)
    runs = [{**row, "run_id": "n" + row["run_id"]} for row in tables["runs"].to_pylist()]
    metrics = [
        {**row, "run_id": "n" + row["run_id"], "accuracy": 50.0} for row in tables["metrics"].to_pylist()
    ]
    renamed = {**tables, "runs": rows_to_table("runs", runs), "metrics": rows_to_table("metrics", metrics)}
    publish(store, tables, "old")
    time.sleep(0.02)
    publish(store, renamed, "new")
    con = open_results(store)
    assert query(con, "SELECT DISTINCT base FROM base_to_new").to_pylist() == [{"base": 50.0}]
    assert query(
        open_results(store, ["old"]), "SELECT max(base) > 50 AS old FROM base_to_new"
    ).to_pylist() == [{"old": True}]


def test_report_without_results_says_what_to_run(tmp_path):
    with pytest.raises(
        AtlasError, match=r"study base-to-new-demo has no results.*atlas run base-to-new-demo"
    ):
        run("report", "base-to-new", "--home", tmp_path, "--output", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_report_of_results_that_are_not_current_says_so(home, tmp_path):
    printed = run("report", "base-to-new", "--home", home, "--output", tmp_path / "report.html")
    assert printed.strip() == str(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "Older than its configuration or code" in html
    assert "protocol: base_to_new" in html
    assert "missing" in html
    assert "torch" in html


def manifest_of(node, created):
    return Manifest(node.stage, "k", "d", node.name, node.family, {}, {}, 2.0, 1.0, created, "host")


def test_artifacts_older_than_the_studys_start_were_cached(tmp_path):
    study = load_study("base-to-new-demo")
    graph = build_graph(study, Placement(home=tmp_path))
    first, second, third = graph.nodes[:3]
    states = {node.name: NodeState("missing", None, None) for node in graph.nodes}
    states[first.name] = NodeState("fresh", {}, manifest_of(first, created=100.0))
    states[second.name] = NodeState("fresh", {}, manifest_of(second, created=300.0))
    states[third.name] = NodeState("stale", None, None)
    rows = {row.name: row for row in _plan_rows(study, graph, states, started=200.0)}
    assert rows[first.name].status == "cached"
    assert rows[second.name].status == "made"
    assert rows[third.name].status == "stale"
    assert rows[graph.aggregate.name].status == "missing"
    assert rows[first.name].seconds == 2.0

"""The database answers questions, refuses everything else, and says what its columns are."""

import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas_core.errors import AtlasError
from atlas_core.results.columns import column_descriptions
from atlas_core.results.database import connect, documentation, query
from atlas_core.results.schemas import SCHEMAS, conform, rows_to_table, write_tables

VIEWS = [view.name for view in documentation()]
EXPECTED = {
    "runs", "metrics", "predictions", "curves", "base_to_new", "cross_dataset", "domain_generalization",
    "few_shot", "supervision_comparison", "ablation", "runtime", "calibration", "published",
}  # fmt: skip


def rows(con, sql):
    return query(con, sql).to_pylist()


def test_every_promised_view_exists():
    assert set(VIEWS) >= EXPECTED


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_answers_over_the_benchmark(con, view):
    answer = query(con, f"SELECT * FROM {view}")
    assert answer.num_rows > 0 or view == "ours_minus_published"


def test_every_view_answers_over_nothing(tmp_path):
    con = connect(tmp_path)
    filled = {view for view in VIEWS if query(con, f"SELECT * FROM {view}").num_rows}
    assert filled == {"published"}


def test_every_column_of_every_view_is_documented(con):
    assert rows(con, "SELECT * FROM documentation WHERE description = ''") == []
    assert {row["view_name"] for row in rows(con, "SELECT view_name FROM documentation")} == set(VIEWS)


def test_no_documented_column_is_missing_from_its_view(con):
    for view in documentation():
        actual = set(query(con, f"SELECT * FROM {view.name} LIMIT 0").column_names)
        assert set(view.columns) <= actual, view.name
        assert view.summary


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW runs",
        "INSERT INTO runs VALUES (1)",
        "SET threads = 1",
        "PRAGMA version",
        "CALL pragma_version()",
        "COPY runs TO 'runs.csv'",
        "EXPORT DATABASE 'out'",
        "ATTACH 'other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE t AS PIVOT runs ON method USING count(*)",
    ],
)
def test_statements_that_write_are_refused_with_a_way_out(con, sql):
    with pytest.raises(AtlasError, match=r"read-only.*atlas sql --format csv"):
        query(con, sql)


@pytest.mark.parametrize(
    "source",
    [
        "'runs.parquet'",
        "read_csv('/etc/passwd')",
        "read_text('/etc/passwd')",
        "glob('/*')",
        "parquet_scan('x')",
    ],
)
def test_files_cannot_be_read(con, source):
    with pytest.raises(AtlasError, match="reads or writes files"):
        query(con, f"SELECT * FROM {source}")


def test_variables_of_the_program_cannot_be_read(con):
    secret = pa.table({"a": [1]})
    with pytest.raises(AtlasError, match="secret does not exist"):
        query(con, "SELECT * FROM secret")
    assert secret.num_rows == 1


@pytest.mark.parametrize(("sql", "says"), [("SELEC 1", "syntax error"), ("SELECT nope FROM runs", "nope")])
def test_wrong_sql_gets_duckdbs_own_words(con, sql, says):
    with pytest.raises(AtlasError, match=says):
        query(con, sql)


@pytest.mark.parametrize("sql", ["", "  ;", "SELECT 1; SELECT 2"])
def test_exactly_one_statement_is_answered(con, sql):
    with pytest.raises(AtlasError, match="SQL statements"):
        query(con, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM runs LIMIT 1",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
        "DESCRIBE base_to_new",
        "SHOW TABLES",
        "SUMMARIZE metrics",
        "EXPLAIN SELECT * FROM runs",
        "PIVOT base_to_new ON dataset USING any_value(h) GROUP BY method, supervision",
        "-- a comment first\nSELECT 1;",
    ],
)
def test_reading_statements_of_every_kind_are_answered(con, sql):
    assert query(con, sql).num_rows > 0


def test_a_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(AtlasError, match="nowhere"):
        connect(tmp_path / "nowhere")


def test_runs_in_two_folders_are_counted_once(aggregate, tables, tmp_path):
    write_tables(tmp_path, {**tables, "artifacts": tables["artifacts"].slice(0, 1)})
    once, twice = connect(aggregate), connect([aggregate, tmp_path])
    for view in ("runs", "metrics", "predictions", "curves", "classes", "artifacts", "evaluations"):
        counting = f"SELECT count(*) AS n FROM {view}"
        assert rows(once, counting) == rows(twice, counting), view
    ordered = "SELECT * FROM base_to_new ORDER BY ALL"  # the order of summation may differ in the last bit
    pd.testing.assert_frame_equal(query(twice, ordered).to_pandas(), query(once, ordered).to_pandas())


def test_a_table_may_be_a_folder_of_files_and_lack_newer_columns(tables, tmp_path):
    (tmp_path / "runs").mkdir()
    runs = tables["runs"].drop_columns(["options"])
    pq.write_table(runs.slice(0, 5), tmp_path / "runs" / "a.parquet")
    pq.write_table(runs.slice(5, 5), tmp_path / "runs" / "b.parquet")
    assert rows(connect(tmp_path), "SELECT count(*) AS n, count(options) AS o FROM stored_runs") == [
        {"n": 10, "o": 0}
    ]


def test_two_processes_read_the_same_results_at_once(con, aggregate):
    program = (
        "import sys, pathlib; from atlas_core.results.database import connect, query;"
        "con = connect(pathlib.Path(sys.argv[1]));"
        "print(query(con, 'SELECT count(*) AS n FROM runs').to_pylist()[0]['n'])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(aggregate)], capture_output=True, text=True, check=True
    )
    assert int(answer.stdout) == rows(con, "SELECT count(*) AS n FROM runs")[0]["n"]


def test_a_run_that_failed_is_flagged_and_kept(tables, tmp_path):
    runs = tables["runs"].to_pylist()
    metrics = tables["metrics"].to_pylist()
    diverged, guessing, fine = [run for run in runs if run["protocol"] == "base_to_new" and run["seed"] == 1][
        :3
    ]
    diverged["final_loss"] = float("nan")
    for row in metrics:
        if row["run_id"] == guessing["run_id"] and row["subset"] == "new":
            row["accuracy"] = 100 / row["n_classes"]
    write_tables(
        tmp_path,
        {**tables, "runs": rows_to_table("runs", runs), "metrics": rows_to_table("metrics", metrics)},
    )
    con = connect(tmp_path)
    flags = {row["run_id"]: row for row in rows(con, "SELECT * FROM runs WHERE collapsed")}
    assert set(flags) == {diverged["run_id"], guessing["run_id"]}
    assert flags[diverged["run_id"]]["collapsed_because"] == "final loss is not finite"
    assert (
        flags[guessing["run_id"]]["collapsed_because"] == f"accuracy at chance on {guessing['dataset']}/new"
    )
    counted = rows(
        con,
        "SELECT sum(n_collapsed) AS n, min(n_seeds) AS seeds FROM base_to_new "
        "WHERE method <> 'zero_shot' AND dataset <> 'average'",
    )
    assert counted == [{"n": 2, "seeds": 3}]
    assert fine["run_id"] not in flags


def test_schemas_describe_every_column():
    for table, schema in SCHEMAS.items():
        assert list(column_descriptions(table)) == schema.names
        assert all(column_descriptions(table).values())


def test_a_row_with_an_unknown_column_is_refused():
    with pytest.raises(AtlasError, match="'acuracy'"):
        rows_to_table("metrics", [{"acuracy": 1.0}])


def test_tables_conform_to_their_schema():
    short = conform("classes", pa.table({"label": pa.array([1], pa.int64()), "extra": [1]}))
    assert short.schema == SCHEMAS["classes"]
    assert short.to_pylist() == [{"target": None, "subset": None, "label": 1, "class_name": None}]

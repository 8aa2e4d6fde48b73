"""SQL over result files: an in-memory DuckDB that can read the registered tables and nothing else."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from atlas_core.datasets.identity import Identity, dataset_id, distinct_names
from atlas_core.errors import AtlasError
from atlas_core.resources import data_path
from atlas_core.results.columns import column_descriptions
from atlas_core.results.schemas import SCHEMAS

VIEWS = Path(__file__).resolve().parent / "views"

# Columns that hold a dataset's name. (A curve's target is that of a loss.)
_NAME_COLUMNS = ("dataset", "target")

# Statements that only read. PIVOT at the top level is of the kind MULTI.
_READING = {"SELECT", "EXPLAIN", "MULTI"}
_COLUMNS = "SELECT table_name, column_name, data_type FROM duckdb_columns() ORDER BY table_name, column_index"
_WRITING_WORDS = {
    "create",
    "insert",
    "update",
    "delete",
    "drop",
    "alter",
    "copy",
    "truncate",
    "merge",
    "replace",
}


@dataclass(frozen=True)
class ViewDocumentation:
    """What a view is: `summary`, and `columns` (name -> description) in order."""

    name: str
    summary: str
    columns: dict[str, str]


def connect(aggregate_dir: Path | Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """Open the results in one or more folders.

    A table is `<folder>/<table>.parquet` or the Parquet files of `<folder>/<table>/`; an absent one is empty.
    Folders may hold the same runs: each is counted once. The database lives in memory, so any number of
    processes can read the same folders; it can open no file, network or extension.

    Raises:
        AtlasError: A folder does not exist.
    """
    folders = [aggregate_dir] if isinstance(aggregate_dir, Path) else list(aggregate_dir)
    for folder in folders:
        if not folder.is_dir():
            raise AtlasError(
                f"no results at {folder}",
                expected="a folder of result tables",
                fix="run a study first: `atlas run STUDY`",
            )
    con = duckdb.connect(":memory:")
    con.execute("SET TimeZone = 'UTC'")
    names = shown_names(folders)
    for table, schema in SCHEMAS.items():
        _register_stored(con, table, schema, folders, names)
    _register_published(con)
    for file in view_files():
        con.execute(file.read_text(encoding="utf-8"))
    con.register("documentation", _documentation_table(con))
    # Nothing is read by path from here on: tables are Arrow objects that Python holds.
    con.execute("SET python_enable_replacements = false")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def query(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Answer one reading statement.

    Raises:
        AtlasError: Not exactly one statement, one that would change something or touch a file, or one that
            DuckDB refuses (its message is passed on).
    """
    _refuse_writing(con, sql)
    try:
        return con.sql(sql).to_arrow_table()
    except duckdb.PermissionException as error:
        raise _no_files(str(error)) from error
    except duckdb.Error as error:
        raise _sql_error(error) from error


def view_files() -> list[Path]:
    """The view definitions in the order they must be created (their names' numbers)."""
    return sorted(VIEWS.glob("*.sql"))


def documentation() -> list[ViewDocumentation]:
    """The documented views, from the comments at the top of their SQL files."""
    return [entry for file in view_files() for entry in _parse_documentation(file)]


def shown_names(folders: Sequence[Path]) -> list[dict[str, str]]:
    """For each folder: its names of datasets that others of the folders mean another dataset by → the name shown.

    Names are unique within a study; two studies may call different datasets by one name, or one by different names.
    """
    rows = [
        [row for file in _table_files(folder, "datasets") for row in pq.read_table(file).to_pylist()]
        for folder in folders
    ]
    identities: dict[str, Identity] = {}
    for row in (row for of_folder in rows for row in of_folder):
        identity = Identity(row["plain_name"], row["place"], row["content"], row["published"] is not None)
        identities.setdefault(dataset_id(row["place"], row["content"]), identity)
    shown = dict(zip(identities, distinct_names(list(identities.values())), strict=True))
    return [
        {
            row["name"]: name
            for row in of_folder
            if (name := shown[dataset_id(row["place"], row["content"])]) != row["name"]
        }
        for of_folder in rows
    ]


def _register_stored(
    con: duckdb.DuckDBPyConnection,
    table: str,
    schema: pa.Schema,
    folders: Sequence[Path],
    names: Sequence[Mapping[str, str]],
) -> None:
    """Make `stored_<table>`: the table's rows in every folder, with the folder's place as `aggregate`.

    Datasets have the names in `names` in the place of those in the files.
    """
    selects = []
    for place, folder in enumerate(folders):
        files = _table_files(folder, table)
        if not files:
            continue
        name = f"stored_{table}_{place}"
        con.register(name, ds.dataset([str(file) for file in files], schema=schema, format="parquet"))
        selects.append(f"SELECT *{_renaming(table, schema, names[place])}, {place} AS aggregate FROM {name}")
    if not selects:
        con.register(f"stored_{table}_empty", schema.empty_table())
        selects.append(f"SELECT *, 0 AS aggregate FROM stored_{table}_empty")
    con.execute(f"CREATE VIEW stored_{table} AS {' UNION ALL '.join(selects)}")


def _renaming(table: str, schema: pa.Schema, names: Mapping[str, str]) -> str:
    """A REPLACE clause that gives datasets other names, empty where none has another."""
    columns = [] if table == "curves" else [each for each in _NAME_COLUMNS if each in schema.names]
    columns = ["name"] if table == "datasets" else columns
    if not names or not columns:
        return ""
    cases = " ".join(f"WHEN {_quoted(old)} THEN {_quoted(new)}" for old, new in names.items())
    return (
        " REPLACE (" + ", ".join(f"CASE {each} {cases} ELSE {each} END AS {each}" for each in columns) + ")"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _table_files(folder: Path, table: str) -> list[Path]:
    single = folder / f"{table}.parquet"
    if single.is_file():
        return [single]
    return sorted((folder / table).glob("*.parquet"))


def _register_published(con: duckdb.DuckDBPyConnection) -> None:
    text = pc.ConvertOptions(
        column_types={"method": pa.string(), "shots": pa.int32(), "value": pa.float64()},
        strings_can_be_null=True,
    )
    con.register(
        "published_numbers",
        pc.read_csv(data_path("published", "reference_results.csv"), convert_options=text),
    )
    con.register("published_names", pc.read_csv(data_path("published", "names.csv")))


def _parse_documentation(file: Path) -> Iterator[ViewDocumentation]:
    """Read `-- view NAME: summary` and the `--   column: meaning` lines below it."""
    name, summary = "", ""
    columns: dict[str, str] = {}
    last = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"-- view (\w+): (.*)", line):
            if name:
                yield ViewDocumentation(name, summary, columns)
            name, summary, columns, last = match[1], match[2], {}, ""
        elif not name:
            continue
        elif match := re.match(r"--   (\w+): (.*)", line):
            last = match[1]
            columns[last] = match[2]
        elif match := re.match(r"--     (\S.*)", line):
            columns[last] += f" {match[1]}"
        elif match := re.match(r"-- (\S.*)", line):
            summary += f" {match[1]}"
    if name:
        yield ViewDocumentation(name, summary, columns)


def _documentation_table(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """One row a column of a view: its own description, else that of the stored column of the same name."""
    stored: dict[str, str] = {}
    for table in ("metrics", "runs"):
        stored.update(column_descriptions(table))
    columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for view_name, column, kind in con.execute(_COLUMNS).fetchall():
        columns[view_name].append((column, kind))
    rows = []
    for view in documentation():
        known = {**stored, **(column_descriptions(view.name) if view.name in SCHEMAS else {}), **view.columns}
        for position, (column, kind) in enumerate(columns[view.name], start=1):
            rows.append((view.name, position, column, kind, known.get(column, "")))
    names = ["view_name", "position", "column_name", "type", "description"]
    kinds = [pa.string(), pa.int32(), pa.string(), pa.string(), pa.string()]
    return pa.table([pa.array([row[k] for row in rows], kind) for k, kind in enumerate(kinds)], names=names)


def _refuse_writing(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise _sql_error(error) from error
    if len(statements) != 1:
        raise AtlasError(
            f"{len(statements)} SQL statements", expected="exactly one, such as SELECT * FROM base_to_new"
        )
    kind = statements[0].type.name
    first = re.match(r"\W*(\w+)", sql)
    if kind not in _READING or (kind == "MULTI" and first and first[1].lower() in _WRITING_WORDS):
        raise AtlasError(
            f"a SQL statement of the kind {kind}: results are read-only",
            expected="SELECT, WITH, FROM, PIVOT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN",
            fix='to keep an answer, print it to a file: `atlas sql --format csv "SELECT ..." > answer.csv`',
        )


def _no_files(message: str) -> AtlasError:
    return AtlasError(
        f"SQL that reads or writes files: {message.splitlines()[0]}",
        expected='only the result views (`atlas sql "SHOW TABLES"`)',
        fix='to keep an answer, print it to a file: `atlas sql --format csv "SELECT ..." > answer.csv`',
    )


def _sql_error(error: duckdb.Error) -> AtlasError:
    return AtlasError(
        f"SQL: {str(error).strip()}",
        fix='list views with "SHOW TABLES", columns with "SELECT * FROM documentation"',
    )

"""One synthetic benchmark for all tests of the results."""

import sys
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).parent)
)  # tests are imported by file, so `synthetic` is no package member

import raw_rows
import synthetic

from atlas_core.results.database import connect
from atlas_core.results.schemas import rows_to_table, write_tables


@pytest.fixture(scope="session")
def tables():
    return synthetic.results()


@pytest.fixture(scope="session")
def aggregate(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("aggregate")
    write_tables(folder, tables)
    return folder


@pytest.fixture(scope="session")
def con(aggregate):
    return connect(aggregate)


@pytest.fixture(scope="session", params=["whole", "ragged"])
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
    runs = runs.assign(setting=[raw_rows.setting_words(row) for row in runs.itertuples()])
    return connect(folder), runs, metrics

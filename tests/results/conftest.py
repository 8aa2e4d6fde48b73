"""One synthetic benchmark for all tests of the results."""

import sys
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).parent)
)  # tests are imported by file, so `synthetic` is no package member

import synthetic

from atlas_core.results.database import connect


@pytest.fixture(scope="session")
def tables():
    return synthetic.results()


@pytest.fixture(scope="session")
def aggregate(tables, tmp_path_factory):
    from atlas_core.results.schemas import write_tables

    folder = tmp_path_factory.mktemp("aggregate")
    write_tables(folder, tables)
    return folder


@pytest.fixture(scope="session")
def con(aggregate):
    return connect(aggregate)

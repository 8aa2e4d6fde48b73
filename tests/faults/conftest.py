"""A finished small study, one that was never run, and the tables of an undisturbed run."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import run, tables
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    return make_world(tmp_path_factory.mktemp("untouched"))


@pytest.fixture(scope="session")
def finished(untouched: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    home = tmp_path_factory.mktemp("finished") / "home"
    shutil.copytree(untouched.home, home)
    world = TinyWorld(home)
    run(world)
    return world


@pytest.fixture(scope="session")
def undisturbed(finished: TinyWorld) -> dict[str, Any]:
    return tables(finished)


@pytest.fixture
def fresh(untouched: TinyWorld, tmp_path: Path) -> TinyWorld:
    """The study before its first run."""
    shutil.copytree(untouched.home, tmp_path / "home")
    return TinyWorld(tmp_path / "home")


@pytest.fixture
def done(finished: TinyWorld, tmp_path: Path) -> TinyWorld:
    """The study after its run."""
    shutil.copytree(finished.home, tmp_path / "home")
    return TinyWorld(tmp_path / "home")

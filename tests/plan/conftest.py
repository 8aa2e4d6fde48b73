"""A finished tiny study, and copies of it for tests that change something."""

import shutil
from pathlib import Path

import pytest

from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("finished"))
    world.run()
    return world


@pytest.fixture
def world(finished: TinyWorld, tmp_path: Path) -> TinyWorld:
    """The finished study in a folder that the test may change."""
    home = tmp_path / "home"
    shutil.copytree(finished.home, home)
    return TinyWorld(home)

"""A finished tiny study, copied for each case."""

import shutil
from pathlib import Path

import pytest

from tests.bad_input.table import Ground
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("finished"))
    world.run(supervisions=["one_hot"])
    return world


@pytest.fixture
def ground(
    finished: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ground:
    shutil.copytree(finished.home, tmp_path / "home")
    folder = tmp_path / "given"
    folder.mkdir()
    return Ground(TinyWorld(tmp_path / "home"), folder, monkeypatch, capsys)

"""A finished tiny study, and copies of it for tests that change something."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas_core.code import closure
from tests.tiny_study import TinyWorld, make_world

EditModule = Callable[[str, Callable[[str], str]], None]


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


@pytest.fixture
def edit_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EditModule:
    """Let the planner see an edited copy of a module's source, as if the file had been edited."""
    original = closure.source_path
    edited: dict[str, Path] = {}

    def edit(module: str, change: Callable[[str], str]) -> None:
        source = original(module)
        assert source is not None
        text = source.read_text()
        assert change(text) != text, "the edit changes nothing"
        edited[module] = tmp_path / f"{module}.py"
        edited[module].write_text(change(text))

    monkeypatch.setattr(closure, "source_path", lambda module: edited.get(module) or original(module))
    return edit

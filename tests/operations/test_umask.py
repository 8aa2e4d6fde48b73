"""Who may read what is written is the umask's to say, for one user's own store and for one that a group shares."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas_core.results.report.write import _write as write_report
from atlas_core.store import MARKER
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(params=[0o077, 0o022, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


def wrong_modes(folder: Path, mask: int) -> dict[str, str]:
    """Files and folders whose permissions are not what the umask leaves of all of them."""
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}
    wanted = {path: (0o777 if path.is_dir() else 0o666) & ~mask for path in modes}
    return {str(path): oct(mode) for path, mode in modes.items() if mode != wanted[path]}


def test_a_study_runs_and_is_found_again_and_its_files_have_the_umasks_modes(
    tmp_path: Path, umask: int
) -> None:
    world: TinyWorld = make_world(tmp_path)
    assert world.run(supervisions=["one_hot"]).failed == {}
    assert world.run(supervisions=["one_hot"]).made == []
    assert (world.placement.store_path / MARKER).is_file()
    assert wrong_modes(world.placement.store_path, umask) == {}


def test_a_report_has_the_umasks_mode(tmp_path: Path, umask: int) -> None:
    write_report(tmp_path / "report.html", "<p>")
    assert wrong_modes(tmp_path, umask) == {}

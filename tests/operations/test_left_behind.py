"""What a killed process left in a store is gone after the next start; what may be in use or is not ours stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas_core.writers import has_writer, host_of_processes, remove_left_behind, writer
from tests.tiny_study import TinyWorld, make_world

GONE = 2**22 + 1  # above the highest process number that Linux gives


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path)


def test_a_start_removes_what_a_killed_process_left(world: TinyWorld) -> None:
    store = world.placement.store_path
    script = (
        "import os, sys; from pathlib import Path; from atlas_core.store import Store\n"
        "store = Store(Path(sys.argv[1])); store.make()\n"
        "with store.scratch('tune-0123') as folder:\n"
        "    (folder / 'half.bin').write_bytes(b'half'); os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(store)], check=False)
    assert killed.returncode == 9
    (left,) = (store / ".tmp").iterdir()
    assert has_writer(left.name) is False
    world.run(supervisions=["one_hot"])
    assert list((store / ".tmp").iterdir()) == []


def test_a_start_leaves_alone_what_may_be_in_use_or_is_somebody_elses(tmp_path: Path) -> None:
    host = host_of_processes()
    kept = [f"a{writer()}x", f"b~{host}~1~x", f"c~elsewhere~{GONE}~x", "photos", f"d~{host}~words~x"]
    for name in [*kept, f"e~{host}~{GONE}~x"]:
        (tmp_path / ".tmp" / name).mkdir(parents=True)
    (tmp_path / ".tmp" / f"file~{host}~{GONE}~x").touch()
    remove_left_behind(tmp_path)
    assert {each.name for each in (tmp_path / ".tmp").iterdir()} == {*kept, f"file~{host}~{GONE}~x"}


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    (tmp_path / "store" / ".tmp").mkdir(parents=True)
    (tmp_path / "store" / ".tmp" / f"x~{host_of_processes()}~{GONE}~x").symlink_to(tmp_path / "photos")
    remove_left_behind(tmp_path / "store")
    assert (tmp_path / "photos" / "one.jpg").exists()


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="making a container needs root and Linux"
)
def test_a_process_of_another_container_is_not_taken_for_gone(tmp_path: Path) -> None:
    """Two containers may share a host's name and see none of each other's processes."""
    script = "from atlas_core.writers import writer; print(writer())"
    shown = subprocess.run(
        ["unshare", "--pid", "--fork", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode:
        pytest.skip(f"no container can be made here: {shown.stderr.strip()}")
    assert has_writer(f"tune{shown.stdout.strip()}x") is None


def test_a_process_that_ended_unnoticed_writes_no_more() -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has noticed
    try:
        assert has_writer(f"tune-0123~{host_of_processes()}~{zombie.pid}~abcd") is False
    finally:
        zombie.wait()

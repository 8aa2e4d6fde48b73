"""What a killed process was writing goes when the next study starts; whatever else lies there stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from atlas_core.store import Store, hostname
from tests.tiny_study import make_world


def test_the_next_study_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    store = Store(world.placement.store_path)
    store.make()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has noticed
    temporary = store.root / ".tmp"
    names = {
        "killed": f"tune-0123~{hostname()}~{gone.pid}~abcd",
        "zombie": f"tune-0123~{hostname()}~{zombie.pid}~abcd",
        "living": f"tune-0123~{hostname()}~{os.getpid()}~abcd",
        "elsewhere": f"tune-0123~another-machine~{gone.pid}~abcd",
        "foreign": "photos",
    }
    for name in names.values():
        (temporary / name).mkdir(parents=True)
        (temporary / name / "file").write_text("content")
    world.run(datasets=[str(world.home / "ponds.yaml")], supervisions=["one_hot"])
    zombie.wait()
    left = {path.name for path in temporary.iterdir()}
    assert left == {names["living"], names["elsewhere"], names["foreign"]}

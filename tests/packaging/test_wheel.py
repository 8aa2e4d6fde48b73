"""The wheel works where there is no checkout: built, installed into a fresh environment, used from an empty folder."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# Of the demo: one dataset, one method, one seed, few epochs.
SMALL = {
    "datasets": "[demo_shapes]",
    "methods": "[zero_shot, coop]",
    "supervisions": "[one_hot, atlas_isl]",
    "seeds": "[1]",
    "training.epochs": "5",
}


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel, and an empty folder to work in."""

    environment: Path
    folder: Path

    @property
    def bin(self) -> Path:
        return self.environment / "bin"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs in the empty folder, knowing nothing of the checkout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ATLAS"))}
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env=kept | {"ATLAS_HOME": str(self.environment.parent / "home"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


def succeed(command: Sequence[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Everything but this project comes from the environment that runs the tests, so nothing large is downloaded."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    succeed([*pip, "wheel", "--no-deps", "--wheel-dir", str(place), str(ROOT)])
    environment = place / "environment"
    venv.create(environment, symlinks=True)
    own = sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)})
    # Only a line in a `.pth` file: the other environment's own `.pth` files, and with them this checkout where it is
    # installed for editing, are not read.
    Path(own, "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    [wheel] = place.glob("*.whl")
    python = str(environment / "bin" / "python")
    succeed([*pip, "--python", python, "install", "--no-deps", "--ignore-installed", str(wheel)])
    folder = place / "empty"
    folder.mkdir()
    return Installation(environment, folder)


@pytest.fixture(scope="module")
def studied(installation: Installation) -> Installation:
    """The installation after a small part of the demo."""
    changes = [part for field, value in SMALL.items() for part in ("--set", f"{field}={value}")]
    ended = installation.run("atlas", "run", "base-to-new", "--preset", "demo", "--workers", "1", *changes)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return installation


def test_every_package_comes_from_the_wheel(installation: Installation) -> None:
    printing = "; ".join(
        ["import atlas_core, tasks, flows, atlas_core.resources as r"]
        + [f"print({module}.__file__)" for module in ("atlas_core", "tasks", "flows")]
        + ["print(r.data_path('presets'))"]
    )
    ended = installation.run("python", "-c", printing)
    assert ended.returncode == 0, ended.stderr
    for place in ended.stdout.splitlines():
        assert Path(place).is_relative_to(installation.environment)


def test_the_command_knows_its_presets_and_its_demo(installation: Installation) -> None:
    assert "base-to-new-demo" in installation.run("atlas", "presets").stdout
    asked = installation.run("atlas", "demo", "--help")
    assert asked.returncode == 0
    assert "embedded demo datasets" in asked.stdout


def test_a_study_runs_and_its_table_is_printed(studied: Installation) -> None:
    table = studied.run("atlas", "table", "base-to-new")
    assert table.returncode == 0, table.stderr
    assert all(word in table.stdout for word in ("zero_shot", "coop", "one_hot", "atlas_isl"))


def test_the_study_is_cached_the_next_time_and_left_no_file_behind(studied: Installation) -> None:
    changes = [part for field, value in SMALL.items() for part in ("--set", f"{field}={value}")]
    again = studied.run("atlas", "plan", "base-to-new", *changes)
    assert "3 runs, 3 of them cached; 0 of" in again.stdout
    assert list(studied.folder.iterdir()) == []


def test_the_doctor_finds_nothing_bad(studied: Installation) -> None:
    ended = studied.run("atlas", "doctor", "--offline")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "atlas-prompt-tuning" in ended.stdout

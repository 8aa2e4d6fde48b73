"""Two versions of the code work on one store at once: neither remakes, replaces or refuses what the other made."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import atlas_core
from atlas_core.plan.records import recorded_studies
from atlas_core.results.current import current_aggregates
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world

PACKAGE = Path(atlas_core.__file__).parent
SUPERVISIONS = ["one_hot", "ols"]
# What the later version computes otherwise: the soft labels of OLS, and nothing of one-hot targets.
FILE, BEFORE, AFTER = "labels/ols.py", "soft = self._constants", "soft = 0.1 * self._constants"


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    made = make_world(tmp_path / "home")
    (made.home / "study.yaml").write_text(yaml.safe_dump(made.raw_study(supervisions=SUPERVISIONS)))
    return made


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Path, Path]:
    """Folders to import this version and a later one from."""
    later = tmp_path / "later"
    shutil.copytree(PACKAGE, later / "atlas_core", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(PACKAGE.parent / "data", later / "data", ignore=shutil.ignore_patterns("*.pyc"))
    file = later / "atlas_core" / FILE
    text = file.read_text()
    assert BEFORE in text
    file.write_text(text.replace(BEFORE, AFTER))
    return PACKAGE.parent, later


def start(version: Path, world: TinyWorld, log: Path) -> subprocess.Popen[str]:
    words = ["run", str(world.home / "study.yaml"), "--home", str(world.home), "--workers", "0"]
    return subprocess.Popen(
        [sys.executable, "-m", "atlas_core.cli", *words, "--log-file", str(log)],
        env=os.environ | {"PYTHONPATH": str(version)}, cwd=version, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def made(log: Path) -> Iterator[str]:
    for line in map(json.loads, log.read_text().splitlines()):
        if line["event"] == "job_made":
            yield line["job"]


def run(version: Path, world: TinyWorld, log: Path) -> list[str]:
    """Names of what a version had to make."""
    process = start(version, world, log)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return list(made(log))


def test_two_versions_at_once_share_what_they_compute_alike_and_keep_the_rest_apart(
    world: TinyWorld, versions: tuple[Path, Path], tmp_path: Path
) -> None:
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    both = [start(version, world, log) for version, log in zip(versions, logs, strict=True)]
    for process in both:
        said, _ = process.communicate()
        assert process.returncode == 0, said
    store = Store(world.placement.store_path)
    assert [version for version in versions if run(version, world, tmp_path / f"{version.name}.log")] == []
    by_name: dict[str, int] = {}
    for manifest in store.manifests("tune"):
        assert store.verify(manifest) == []
        by_name[manifest.name] = by_name.get(manifest.name, 0) + 1
    assert {name for name, count in by_name.items() if count == 2} == {
        name for name in by_name if "/ols" in name
    }
    assert set(by_name.values()) == {1, 2}
    together = [name for log in logs for name in made(log) if "/one_hot/" in name]
    assert together
    assert len(together) == len(set(together)), "one made it and the other waited"


def test_the_results_of_the_version_that_finished_last_are_current(
    world: TinyWorld, versions: tuple[Path, Path], tmp_path: Path
) -> None:
    keys = []
    for number, version in enumerate((*versions, versions[0])):
        run(version, world, tmp_path / f"{number}.log")
        keys.append(current_aggregates(Store(world.placement.store_path))[0].key)
    assert keys[0] == keys[2] != keys[1]


def test_what_a_later_version_adds_to_a_record_is_left_alone(world: TinyWorld) -> None:
    world.run(supervisions=["one_hot"])
    store = Store(world.placement.store_path)
    for folder in (".studies", ".results"):
        for file in (store.root / folder).iterdir():
            file.write_text(json.dumps({**json.loads(file.read_text()), "added_later": 1}))
    assert [each.name for each in recorded_studies(store)] == ["tiny"]
    assert len(current_aggregates(store)) == 1

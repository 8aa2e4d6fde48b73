"""gc and store verify."""

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.config import StudyConfig
from atlas_core.operations.garbage import garbage, needed_by, remove
from atlas_core.operations.verify import check_artifacts
from atlas_core.store import Store
from atlas_core.writers import host_of_processes
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("operations"))
    world.run()
    return world


@pytest.fixture
def world(finished: TinyWorld, tmp_path: Path) -> TinyWorld:
    shutil.copytree(finished.home, tmp_path / "home")
    return TinyWorld(tmp_path / "home")


def store_of(world: TinyWorld) -> Store:
    return Store(world.placement.store_path)


def collected(world: TinyWorld, *studies: StudyConfig) -> set[str]:
    store = store_of(world)
    return {piece.name for piece in garbage(store, needed_by(studies, world.placement))}


def test_nothing_that_a_study_needs_is_garbage(world: TinyWorld) -> None:
    assert collected(world, world.study()) == set()


def test_runs_of_a_seed_that_no_study_has_any_more_are_garbage(world: TinyWorld) -> None:
    world.run(seeds=[1, 2])
    world.run()
    pieces = collected(world, world.study())
    assert pieces
    assert all("seed2" in name or name == "aggregate/tiny" for name in pieces)


def test_a_record_of_code_that_made_nothing_is_garbage_once_it_is_old(world: TinyWorld) -> None:
    store = store_of(world)
    record = store.root / ".code" / f"{'0' * 64}.json"
    record.write_text("{}")
    assert collected(world, world.study()) == set()
    os.utime(record, (0, 0))
    pieces = list(garbage(store, needed_by([world.study()], world.placement)))
    assert [piece.path for piece in pieces] == [record]
    remove(store, pieces)
    assert not record.exists()
    assert list(record.parent.iterdir())


def test_removing_garbage_leaves_a_study_fresh(world: TinyWorld) -> None:
    world.run(seeds=[1, 2])
    world.run()
    store = store_of(world)
    remove(store, list(garbage(store, needed_by([world.study()], world.placement))))
    assert collected(world, world.study()) == set()
    assert world.run().made == []


def test_what_hangs_on_a_dataset_that_is_not_mounted_now_is_kept(world: TinyWorld) -> None:
    data = world.home / "data"
    data.rename(world.home / "elsewhere")
    assert collected(world, world.study()) == set()
    (world.home / "elsewhere").rename(data)
    assert world.run().made == []


def test_leftovers_of_dead_writers_are_garbage_and_those_of_living_ones_are_not(world: TinyWorld) -> None:
    leftovers = store_of(world).root / ".tmp"
    (leftovers / f"tune-0123~{host_of_processes()}~{os.getpid()}~abc").mkdir(parents=True)
    (leftovers / f"tune-4567~{host_of_processes()}~999999999~abc").mkdir()
    (leftovers / "tune-89ab~another-host~1~abc").mkdir()
    assert collected(world, world.study()) == {f".tmp/tune-4567~{host_of_processes()}~999999999~abc"}


def test_a_checkpoint_is_kept_while_a_study_waits_for_it(world: TinyWorld) -> None:
    store = store_of(world)
    waiting = next(iter(store.manifests("tune")))
    store.delete("tune", waiting.key)
    for key in (waiting.key, "f" * 64):
        folder = store.root / ".work" / f"tune-{key}"
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    assert collected(world, world.study()) == {f".work/tune-{'f' * 35}"}


def test_verify_reads_every_byte_and_finds_files_that_do_not_belong(world: TinyWorld) -> None:
    store = store_of(world)
    assert all(not each.faults for each in check_artifacts(store))
    victim = next(iter(store.manifests("tune")))
    (store.path("tune", victim.key) / "stray.txt").write_text("x")
    [damaged] = [each for each in check_artifacts(store) if each.faults]
    assert damaged.faults == ("stray.txt does not belong to it",)


def test_the_verify_command_says_what_is_damaged_and_removes_it_when_asked(world: TinyWorld) -> None:
    store = store_of(world)
    victim = next(iter(store.manifests("tune")))
    file = store.path("tune", victim.key) / "run.json"
    stat = file.stat()
    file.write_bytes(file.read_bytes().replace(b"{", b"["))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    verify = ["store", "verify", "--store", str(store.root)]
    said = CliRunner().invoke(app, verify)
    assert said.exit_code == 1
    assert "run.json is changed" in said.output
    assert CliRunner().invoke(app, [*verify, "--delete-damaged"]).exit_code == 0
    assert CliRunner().invoke(app, verify).exit_code == 0
    assert world.run().made == [victim.name]

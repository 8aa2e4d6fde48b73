"""After any fault a restart ends in the undisturbed study's tables, and makes nothing twice."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from atlas_core.errors import AtlasError
from atlas_core.manifest import Manifest
from atlas_core.operations.verify import check_artifacts
from atlas_core.store import Store
from atlas_core.training import loop
from tests.faults.world import TRIED, Killed, broken, kept, no_space, run, small, tables
from tests.tiny_study import TinyWorld

STAGES = ("fetch", "index", "text_features", "image_features", "csl", "isl", "tune", "evaluate", "aggregate")


def check_restart(world: TinyWorld, undisturbed: dict[str, Any]) -> list[str]:
    """Run again: what was whole is not made again, and the tables are the undisturbed ones."""
    before = kept(world)
    made = run(world)
    assert set(made) & before == set(), "a finished artifact was made twice"
    assert tables(world) == undisturbed
    assert run(world) == []
    assert [each for each in check_artifacts(Store(world.placement.store_path)) if each.faults] == []
    return made


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 16))
def test_killed_at_each_artifact_s_rename(
    fresh: TinyWorld, undisturbed: dict[str, Any], at: int, after: bool
) -> None:
    with broken("rename", at, after=after) as point, pytest.raises(Killed):
        run(fresh)
    assert point.calls == at
    assert len(kept(fresh)) == at - 1 + after
    check_restart(fresh, undisturbed)
    TRIED["killed at a stage boundary"] += 1


@pytest.mark.parametrize("at", range(1, 60, 4))
def test_killed_inside_writes(fresh: TinyWorld, undisturbed: dict[str, Any], at: int) -> None:
    with broken("fsync", at), pytest.raises(Killed):
        run(fresh)
    check_restart(fresh, undisturbed)
    TRIED["killed inside a write"] += 1


@pytest.mark.parametrize("name", ["fsync", "rename"])
@pytest.mark.parametrize("at", [1, 5, 9, 14])
def test_a_full_disk_is_one_message_and_costs_nothing_else(
    fresh: TinyWorld, undisturbed: dict[str, Any], name: str, at: int
) -> None:
    with broken(name, at, error=no_space), pytest.raises(AtlasError, match="No space left"):
        run(fresh)
    assert list((fresh.placement.store_path / ".tmp").glob("*")) == []
    check_restart(fresh, undisturbed)
    TRIED["disk full (injected)"] += 1


@pytest.mark.parametrize("kilobytes", [40, 90, 140, 190])
def test_a_disk_that_is_really_full(
    fresh: TinyWorld, undisturbed: dict[str, Any], tmp_path: Path, kilobytes: int
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    options = f"size={kilobytes}k"
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
    if mount.returncode:
        pytest.skip("no right to mount a tmpfs here")
    store = fresh.placement.store_path
    store.symlink_to(place)
    try:
        with pytest.raises(AtlasError, match="No space left"):
            run(fresh)
        # The user moves the store to a larger disk and goes on.
        store.unlink()
        shutil.copytree(place, store)
    finally:
        gc.collect()  # what the error held open: Python 3.12 and later let go of it only now
        subprocess.run(["umount", place], check=True)
    check_restart(fresh, undisturbed)
    TRIED["disk full (tmpfs)"] += 1


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _flip_unnoticed(path: Path) -> None:
    stat = path.stat()
    _flip(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": _truncate,
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": _flip,
    "removed": lambda path: path.unlink(),
}


def _victim(world: TinyWorld, stage: str) -> tuple[Manifest, Path]:
    store = Store(world.placement.store_path)
    manifest = min(store.manifests(stage), key=lambda each: each.name)
    return manifest, store.path(stage, manifest.key)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_file_is_never_read(
    done: TinyWorld, undisturbed: dict[str, Any], stage: str, damage: str
) -> None:
    manifest, folder = _victim(done, stage)
    for name in manifest.outputs:
        DAMAGES[damage](folder / name)
    assert check_restart(done, undisturbed) == [manifest.name]
    TRIED[f"file {damage}"] += 1


@pytest.mark.parametrize("damage", ["truncated", "emptied", "removed"])
@pytest.mark.parametrize("stage", STAGES)
def test_an_artifact_without_a_whole_manifest_is_never_read(
    done: TinyWorld, undisturbed: dict[str, Any], stage: str, damage: str
) -> None:
    manifest, folder = _victim(done, stage)
    DAMAGES[damage](folder / "manifest.json")
    assert check_restart(done, undisturbed) == [manifest.name]
    TRIED[f"manifest {damage}"] += 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_flipped_bit_under_an_unchanged_time_is_found_by_verify(
    done: TinyWorld, undisturbed: dict[str, Any], stage: str
) -> None:
    manifest, folder = _victim(done, stage)
    _flip_unnoticed(folder / min(manifest.outputs))
    store = Store(done.placement.store_path)
    damaged = [each for each in check_artifacts(store) if each.faults]
    assert [each.name for each in damaged] == [manifest.name]
    store.delete(stage, manifest.key)
    assert check_restart(done, undisturbed) == [manifest.name]
    TRIED["bit flipped, time unchanged"] += 1


@pytest.mark.parametrize("at", range(1, 7))
def test_a_training_goes_on_from_its_checkpoint_to_the_same_bits(
    fresh: TinyWorld, undisturbed: dict[str, Any], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.Timer, "due", lambda self: True)
    resumed: list[int] = []
    load = loop.load_checkpoint

    def recording(path: Path, parts: Any) -> list[dict[str, Any]]:
        rows = load(path, parts)
        resumed.append(len(rows))
        return rows

    def save_then_die(*arguments: Any) -> None:
        save(*arguments)
        saved.append(1)
        if len(saved) == at:
            raise Killed

    save, saved = loop.save_checkpoint, list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_then_die)
        with pytest.raises(Killed):
            run(fresh)
    monkeypatch.setattr(loop, "load_checkpoint", recording)
    check_restart(fresh, undisturbed)
    # Three epochs: a checkpoint after the first and one after the second.
    assert max(resumed) == 2 - at % 2
    TRIED["training killed at a checkpoint"] += 1


def _start(world: TinyWorld) -> "subprocess.Popen[bytes]":
    study = world.home / "tiny.yaml"
    study.write_text(yaml.safe_dump(world.raw_study(**small(world))))
    command = [sys.executable, "-m", "atlas_core.cli", "run", str(study), "--quiet", "--workers", "0"]
    return subprocess.Popen(
        command, env={**os.environ, "ATLAS_HOME": str(world.home), "OMP_NUM_THREADS": "1"}
    )


def test_two_identical_studies_at_once_both_end_well(fresh: TinyWorld, undisturbed: dict[str, Any]) -> None:
    both = [_start(fresh), _start(fresh)]
    assert [each.wait(timeout=120) for each in both] == [0, 0]
    assert check_restart(fresh, undisturbed) == []
    TRIED["two identical studies at once"] += 1


def test_the_number_of_faults_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{sum(TRIED.values())} faults tried:")
        for kind, count in TRIED.items():
            print(f"  {count:>3} {kind}")

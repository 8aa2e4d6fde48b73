"""A study that is killed in the middle keeps every finished run, and goes on to the same result."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from atlas_core.errors import AtlasError
from atlas_core.plan.session import run_study
from atlas_core.store import Store
from tests.tiny_study import RecordingObserver, TinyWorld, make_world

SEEDS = [1, 2, 3]


def start_study(world: TinyWorld, workers: int) -> "subprocess.Popen[bytes]":
    study = world.home / "tiny.yaml"
    study.write_text(yaml.safe_dump(world.raw_study(seeds=SEEDS)))
    command = [
        sys.executable,
        "-m",
        "atlas_core.cli",
        "run",
        str(study),
        "--quiet",
        "--workers",
        str(workers),
    ]
    environment = {**os.environ, "ATLAS_HOME": str(world.home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def wait_for_runs(store: Store, count: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while len(list(store.manifests("tune"))) < count:
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tables(world: TinyWorld) -> dict[str, object]:
    """The result tables without what differs between two executions: times and dates."""
    store = Store(world.placement.store_path)
    aggregate = max(store.manifests("aggregate"), key=lambda manifest: manifest.created)
    folder = store.path("aggregate", aggregate.key)
    answer: dict[str, object] = {}
    for name in ("metrics", "predictions", "curves", "classes"):
        answer[name] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return answer


def test_kill_9_loses_no_finished_run_and_changes_no_result(tmp_path: Path) -> None:
    world = make_world(tmp_path / "killed")
    store = Store(world.placement.store_path)
    process = start_study(world, workers=1)
    wait_for_runs(store, 5, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {(manifest.stage, manifest.key) for manifest in store.manifests()}
    made = world.run(seeds=SEEDS).made
    again = {manifest.name for manifest in store.manifests() if (manifest.stage, manifest.key) in kept} & set(
        made
    )
    assert again == set()
    assert len([name for name in made if name.startswith("tune/")]) < 2 * 5 * len(SEEDS)
    undisturbed = make_world(tmp_path / "undisturbed")
    undisturbed.run(seeds=SEEDS)
    assert tables(world) == tables(undisturbed)


def test_workers_of_a_killed_study_end_by_themselves(tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    process = start_study(world, workers=2)
    wait_for_runs(Store(world.placement.store_path), 1, process)
    children = children_of(process.pid)
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 120
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline, "a worker outlived its study"
        time.sleep(0.1)


def test_manifests_are_whole_json_whenever_they_are_there(tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    process = start_study(world, workers=1)
    store = Store(world.placement.store_path)
    wait_for_runs(store, 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for folder in store.folders():
        manifest = json.loads((folder / "manifest.json").read_text())
        assert store.lookup(manifest["stage"], manifest["key"]) is not None


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(each) for each in listed.stdout.split()]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_a_damaged_image_stops_its_dataset_unless_it_may_be_skipped(tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    damaged = world.home / "data" / "ponds" / "blue jay" / "00.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    observer = RecordingObserver()
    with pytest.raises(AtlasError, match=r"00\.png"):
        run_study(world.study(), world.placement, observer=observer)
    assert all("ponds" in name for name in observer.failed)
    skipping = world.run(
        views={"per_image": 2, "skip_damaged": True}, methods=["vpt", "zero_shot"], supervisions=["isl"]
    )
    assert skipping.failed == {}
    features = [
        each for each in Store(world.placement.store_path).manifests("image_features") if "ponds" in each.name
    ]
    rows = {
        item
        for each in features
        for item in pq.read_table(
            Store(world.placement.store_path).path(each.stage, each.key) / "items.parquet"
        )["path"].to_pylist()
    }
    assert "blue jay/00.png" not in rows

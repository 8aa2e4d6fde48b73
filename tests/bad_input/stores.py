"""Stores that cannot be written to or that were tampered with, and clocks that go backwards."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas_core.plan.session import run_study
from atlas_core.store import Store
from tests.bad_input.table import Ended, Ground, accepted, contents, refused, refused_each


def _run_on(store: Callable[[Ground], Path]) -> Callable[[Ground], Ended]:
    def act(ground: Ground) -> Ended:
        place = store(ground)
        study = ground.folder / "study.yaml"
        study.write_text(json.dumps(ground.world.raw_study()))
        return ground.atlas("run", str(study), "--store", str(place), "--quiet", "--workers", "0")

    return act


def _file(ground: Ground) -> Path:
    (ground.folder / "store").write_text("not a folder")
    return ground.folder / "store"


refused_each(
    "store",
    {
        "is a file": ("cannot write", _run_on(_file)),
        "is below a file": ("cannot write", _run_on(lambda ground: _file(ground) / "store")),
        "is read-only": ("cannot write", _run_on(lambda ground: Path("/proc/atlas-store"))),
        "has a name that is too long": ("cannot write", _run_on(lambda ground: ground.folder / ("x" * 300))),
    },
)


def _failing(ground: Ground, number: int, name: str, target: Any = os) -> None:
    """Make every call of an operating-system function fail."""

    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    ground.monkeypatch.setattr(target, name, fail)


@refused("space")
def a_disk_that_is_full_when_files_are_synced(ground: Ground) -> None:
    _failing(ground, errno.ENOSPC, "fsync")
    _publish(ground)


@refused("space")
def a_disk_that_is_full_when_a_stage_writes(ground: Ground) -> None:
    def write(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ground.store.publish("tune", "x", {"config": {}, "x": 1}, write)


@refused("permission")
def a_store_that_becomes_read_only(ground: Ground) -> None:
    _failing(ground, errno.EACCES, "rename")
    _publish(ground)


def _publish(ground: Ground) -> None:
    ground.store.publish(
        "tune", "x", {"config": {}, "x": 1}, lambda folder: (folder / "a").write_text("a") and None
    )


@refused("study")
def a_study_record_that_is_damaged(ground: Ground) -> Ended:
    (ground.store.root / ".studies" / "tiny.json").write_text('{"name": "tiny"')
    return ground.atlas("why", "coop one_hot seed1")


@refused("record")
def a_record_of_results_that_is_damaged(ground: Ground) -> Ended:
    (record,) = (ground.store.root / ".results").iterdir()
    record.write_text('{"study": "tiny"')
    return ground.atlas("sql", "SELECT 1")


def _manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Ground], None]:
    """A manifest that was tampered with counts as absent, and the artifact is made again."""

    def act(ground: Ground) -> None:
        before = contents(ground.store)
        victim = next(iter(ground.store.manifests("tune")))
        path = ground.store.path("tune", victim.key) / "manifest.json"
        raw = json.loads(path.read_text())
        changed = change(raw)
        path.write_text(json.dumps(changed if isinstance(changed, list) else raw))
        assert ground.store.lookup("tune", victim.key) is None
        made = ground.world.run(supervisions=["one_hot"]).made
        assert made == [victim.name]
        after = contents(ground.store)
        assert {p for p in after if after[p] != before[p]} == {f"tune/{victim.key}/manifest.json"}

    return act


for _name, _change in {
    "without outputs": lambda raw: raw.pop("outputs"),
    "with outputs as a list": lambda raw: raw.update(outputs=[1]),
    "with a path that climbs": lambda raw: raw["outputs"].update(
        {"../../x": {"sha256": "", "size": 1, "mtime_ns": 1}}
    ),
    "of another key": lambda raw: raw.update(key="0" * 64),
    "that is a list": lambda raw: [raw],
    "with a size of text": lambda raw: next(iter(raw["outputs"].values())).update(size="many"),
    "with an unknown field": lambda raw: raw.update(colour="blue"),
}.items():
    _act = _manifest(_change)
    _act.__name__ = f"manifest {_name}"
    accepted(_act)


@accepted
def a_clock_that_goes_backwards(ground: Ground) -> None:
    real = time.time

    def past() -> float:
        return real() - 400 * 86400

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", past)
        session = run_study(ground.world.study(supervisions=["ls"]), ground.world.placement)
    assert session.finish()
    assert ground.world.run(supervisions=["ls"]).made == []
    assert ground.atlas("sql", "SELECT DISTINCT supervision FROM runs").status == 0


@accepted
def files_from_the_future(ground: Ground) -> None:
    future = time.time() + 10 * 365 * 86400
    for path in ground.store.root.rglob("*"):
        if path.is_file():
            os.utime(path, (future, future))
    assert ground.world.run(supervisions=["one_hot"]).made == []


@accepted
def a_store_reached_through_a_link(ground: Ground) -> None:
    link = ground.folder / "linked store"
    link.symlink_to(ground.store.root)
    placement = ground.world.placement.model_copy(update={"store": link})
    session = run_study(ground.world.study(supervisions=["one_hot"]), placement)
    assert Store(link).lookup("aggregate", session.finish()) is not None

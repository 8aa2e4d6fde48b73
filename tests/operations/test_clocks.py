"""Clocks that are wrong decide neither which results are current nor what `atlas gc` removes."""

import fcntl
import logging
import os
import time
from pathlib import Path

import pytest

from atlas_core.operations.garbage import GIVEN_UP_SECONDS, Piece, garbage, needed_by
from atlas_core.results.current import _say_guessed, current_aggregates, mark_current
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world

DAY = 24 * 3600.0
ONE_RUN = ["one_hot"]
_now = time.time


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path)


def store_of(world: TinyWorld) -> Store:
    return Store(world.placement.store_path)


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    monkeypatch.setattr(time, "time", lambda: _now() + ahead)


def run_by_clocks(world: TinyWorld, monkeypatch: pytest.MonkeyPatch, *clocks: float) -> list[str]:
    """Run a study with one more seed by each clock (seconds ahead); keys of its results, in the order of the runs."""
    keys: list[str] = []
    for number, ahead in enumerate(clocks):
        set_clock(monkeypatch, ahead)
        world.run(supervisions=ONE_RUN, seeds=[number])
        new = {each.key for each in store_of(world).manifests("aggregate")} - set(keys)
        keys.append(new.pop())
    return keys


@pytest.mark.parametrize("clocks", [(0.0, DAY, -DAY), (DAY, 0.0), (0.0, -3650 * DAY)])
def test_the_results_of_the_last_run_are_current_whatever_the_clock_says(
    world: TinyWorld,
    monkeypatch: pytest.MonkeyPatch,
    clocks: tuple[float, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = run_by_clocks(world, monkeypatch, *clocks)
    assert [each.key for each in current_aggregates(store_of(world))] == [keys[-1]]
    for number in range(len(clocks)):
        assert world.run(supervisions=ONE_RUN, seeds=[number]).made == []
        assert [each.key for each in current_aggregates(store_of(world))] == [keys[number]]
    assert caplog.messages == []


def test_where_only_the_clock_could_tell_it_is_asked_and_that_is_said(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys, store = run_by_clocks(world, monkeypatch, DAY, 0.0), store_of(world)
    (record,) = (store.root / ".results").iterdir()
    record.unlink()
    _say_guessed.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert [each.key for each in current_aggregates(store)] == [keys[0]]
    assert "which results of tiny are current" in caplog.text
    mark_current(store, keys[1])
    caplog.clear()
    _say_guessed.cache_clear()
    assert [each.key for each in current_aggregates(store)] == [keys[1]]
    store.delete("aggregate", keys[0])
    record.unlink()
    assert [each.key for each in current_aggregates(store)] == [keys[1]]
    assert caplog.text == "", "the only results need no clock"


def pieces(world: TinyWorld) -> list[Piece]:
    return list(garbage(store_of(world), needed_by([world.study(supervisions=ONE_RUN)], world.placement)))


@pytest.mark.parametrize("ahead", [-DAY, DAY, 3650 * DAY])
def test_what_is_made_by_a_wrong_clock_after_the_studies_were_asked_is_no_garbage(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    world.run(supervisions=ONE_RUN)
    needed = needed_by([world.study(supervisions=ONE_RUN)], world.placement)
    set_clock(monkeypatch, ahead)
    world.run(supervisions=ONE_RUN, seeds=[2])
    assert list(garbage(store_of(world), needed)) == []


@pytest.mark.parametrize("ahead", [-DAY, 3 * DAY])
def test_a_clock_of_this_machine_that_is_wrong_makes_nothing_old(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """Files are dated by the machine that keeps them, which on a network is another one."""
    world.run(supervisions=ONE_RUN)
    (store_of(world).root / ".tmp" / "tune-0123~another-host~1~x").mkdir(parents=True)
    (store_of(world).root / ".work" / f"tune-{'e' * 64}").mkdir(parents=True)
    set_clock(monkeypatch, ahead)
    assert pieces(world) == []


def test_the_work_of_a_job_that_holds_its_lock_is_kept_however_old_it_looks(world: TinyWorld) -> None:
    world.run(supervisions=ONE_RUN)
    work = store_of(world).root / ".work" / f"tune-{'e' * 64}"
    work.mkdir(parents=True)
    os.utime(work, (0, 0))
    lock = Path(f"{work}.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(lock, (0, 0))
        assert pieces(world) == []
    assert {piece.path for piece in pieces(world)} == {work, lock}


def test_a_lock_that_a_file_stands_for_is_garbage_when_its_job_was_quiet_for_a_day(world: TinyWorld) -> None:
    world.run(supervisions=ONE_RUN)
    work = store_of(world).root / ".work" / f"tune-{'e' * 64}"
    work.mkdir(parents=True)
    marker = Path(f"{work}.lock.holder")
    marker.write_text("1\nanother-host\n")
    long_ago = _now() - 2 * GIVEN_UP_SECONDS
    os.utime(marker, (long_ago, long_ago))
    assert pieces(world) == []
    os.utime(work, (long_ago, long_ago))
    assert [piece.path for piece in pieces(world)] == [marker]

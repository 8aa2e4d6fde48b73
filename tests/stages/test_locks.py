"""One writer at a time, whatever the file system says to flock."""

import errno
import fcntl
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock, SoftFileLock, Timeout

from atlas_core.locks import MARKER, held, keeps_locks, lock_on
from atlas_core.operations.doctor import examine
from atlas_core.placement import Placement
from tests.tiny_study import TinyWorld, make_world

REFUSALS = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    keeps_locks.cache_clear()
    yield
    keeps_locks.cache_clear()


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture(params=REFUSALS, ids=errno.errorcode.get)
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, request.param)


def test_where_the_kernel_locks_its_lock_is_used(tmp_path: Path) -> None:
    assert isinstance(lock_on(tmp_path / "job.lock"), FileLock)
    assert list(tmp_path.iterdir()) == []


def test_another_error_of_the_kernel_is_not_taken_for_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        lock_on(tmp_path / "job.lock")


@pytest.mark.usefixtures("without_locks")
def test_a_file_stands_for_the_lock_and_names_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "job.lock"
    with held(lock):
        assert (tmp_path / f"job.lock{MARKER}").read_text().splitlines()[0] == str(os.getpid())
        with pytest.raises(Timeout):
            lock_on(lock).acquire(blocking=False)
    with held(lock):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_locks")
def test_an_empty_lock_file_of_a_kernel_that_locked_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "job.lock").touch()
    with lock_on(tmp_path / "job.lock").acquire(blocking=False):
        pass


@pytest.mark.usefixtures("without_locks")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / "job.lock"
    marker = f"{lock}{MARKER}"
    killed = f"import os, filelock; lock = filelock.SoftFileLock({marker!r}); lock.acquire(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    assert os.path.exists(marker)
    with held(lock):
        assert Path(marker).read_text().splitlines()[0] == str(os.getpid())
    assert not os.path.exists(marker)


@pytest.mark.usefixtures("without_locks")
def test_the_lock_of_another_host_is_waited_for_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / f"job.lock{MARKER}"
    marker.write_text("1\nanother-host\n")
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(1) as pool:

        def wait() -> None:
            with held(tmp_path / "job.lock"):
                pass

        waiting = pool.submit(wait)
        while not caplog.messages and not waiting.done():
            time.sleep(0.01)
        assert not waiting.done()
        marker.unlink()
        waiting.result()
    assert f"waiting for whoever holds {marker}" in caplog.messages[0]


@pytest.mark.usefixtures("without_locks")
def test_a_study_runs_on_a_file_system_without_locks_and_leaves_nothing(tmp_path: Path) -> None:
    world: TinyWorld = make_world(tmp_path)
    assert world.run(supervisions=["one_hot"]).failed == {}
    assert world.run(supervisions=["one_hot"]).made == []
    assert list((world.placement.store_path / ".work").iterdir()) == []


@pytest.mark.usefixtures("without_locks")
def test_the_doctor_says_what_stands_for_locks(tmp_path: Path) -> None:
    found = [each for each in examine(Placement(home=tmp_path), network=False) if each.subject == "store"]
    assert [each.state for each in found] == ["note", "ok"]
    assert f"*{MARKER}" in found[0].message


def test_two_threads_never_hold_one_soft_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.ENOLCK)
    inside: list[int] = []
    most = []

    def work(number: int) -> None:
        with held(tmp_path / "job.lock"):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert most == [1] * 12
    assert isinstance(lock_on(tmp_path / "job.lock"), SoftFileLock)

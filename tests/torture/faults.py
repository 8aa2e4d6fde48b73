"""Signals at running studies and damage to their stores, drawn from a seed for as long as there is time.

A study of thirty artifacts is started as a command; at a moment drawn by chance (while it starts, or once so many
artifacts are made) a signal goes to the command, to one of its workers, or to all of them. Between two runs files of
its store are damaged. After each fault a copy of the store is run to its end in this process: the tables must be those
of an undisturbed study, and what was whole must not have been made again. The store itself stays as the fault left it,
and the next run of the command goes on from there.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.torture.fault_tally import FaultTally
from tests.torture.running import outlived, session_of, start_command, wait_until_ours, workers_of

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
# How the command is started, and how often of ten a store belongs to it.
PLACEMENTS: dict[str, tuple[tuple[str, ...], int]] = {
    "in-process": (("--workers", "0"), 3),
    "workers": (("--workers", "2"), 3),
    "stacked": (("--workers", "0", "--stack", "auto"), 3),
    "dask": (("--workers", "2", "--dask", "local"), 1),
}
FAULTS_ON_A_STORE = 6
# Between two runs a store is damaged so often.
DAMAGED = 0.6
# A moment "while it starts" is drawn up to here; Python and torch take most of it.
STARTING_SECONDS = 4.0
# Not what is wanted (2 and 3 seconds, whatever is printed as the longest), but what no load of a machine explains.
HUNG_SECONDS = 120.0
OUTLIVED_SECONDS = 60.0


class FaultError(Exception):
    """A fault that did harm; says which."""


def torture(
    seed: int, seconds: float, kept: Path, names: list[str] | None = None, lanes: int | None = None
) -> FaultTally:
    """Disturb studies until the time is over, one on each core; the same seed draws the same faults.

    Args:
        names: Placements; all where none is given.
    """
    lanes = lanes or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    total = FaultTally()
    with ProcessPoolExecutor(lanes, mp_context=context) as pool:
        each = [pool.submit(_lane, seed, lane, lanes, seconds, kept, names) for lane in range(lanes)]
        for future in each:
            total.add(future.result())
    return total


def _lane(
    seed: int, first: int, step: int, seconds: float, kept: Path, names: list[str] | None
) -> FaultTally:
    """Every `step`-th store, from the first."""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="atlas-torture-") as scratch:
        disturbed = Disturbed(Path(scratch), kept)
        numbers = itertools.count(first, step)
        for number in itertools.takewhile(lambda _: time.monotonic() < end, numbers):
            disturbed.store(seed, number, names, go_on=lambda: time.monotonic() < end)
    return disturbed.tally


class Disturbed:
    """A small study that is disturbed on one store after the other, and what is known of it undisturbed."""

    def __init__(self, scratch: Path, kept: Path) -> None:
        from tests.faults.world import small
        from tests.tiny_study import make_world

        _heed_signals()
        self.scratch, self.kept = scratch, kept
        self.tally = FaultTally()
        self.world = make_world(scratch / "home")
        self._raw = self.world.raw_study(**{**small(self.world), "seeds": [1, 2]})
        self._study = self.world.home / "tiny.yaml"
        self._study.write_text(yaml.safe_dump(self._raw))
        # A stack's bits are its own.
        self._expected = {stacked: self._undisturbed(stacked) for stacked in (False, True)}

    def store(
        self,
        seed: int,
        number: int,
        names: list[str] | None = None,
        *,
        times: int = FAULTS_ON_A_STORE,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Disturb a study on a new store, drawn by seed and number, some times."""
        chance = random.Random(f"{seed}/{number}")
        chosen = names or list(PLACEMENTS)
        (placement,) = chance.choices(chosen, [PLACEMENTS[each][1] for each in chosen])
        root = self.scratch / "store"
        shutil.rmtree(root, ignore_errors=True)
        for turn in range(times):
            if not go_on():
                return
            try:
                self._disturb(root, placement, chance)
            except Exception as error:
                told = str(error) if isinstance(error, FaultError) else f"{type(error).__name__}: {error}"
                self.tally.harmful[f"{placement}, {told}"[:400]] += 1
                self._keep(root, f"seed {seed}, store {number}, fault {turn}: {placement}, {told}", error)
                return

    def _disturb(self, root: Path, placement: str, chance: random.Random) -> None:
        from atlas_core.store import Store
        from tests.torture.damages import damage_store

        store = Store(root)
        damage = damage_store(store, chance) if chance.random() < DAMAGED else None
        if damage is not None:
            self.tally.tried[placement, damage] += 1
            try:
                self._check_restart(root, placement)
            except FaultError as error:
                raise FaultError(f"{damage}: {error}") from error
        if any(root.glob("aggregate/*/manifest.json")):
            shutil.rmtree(root)  # finished, so that a run would have next to nothing to do
        before = finished(store)
        what = self._signal(root, placement, chance)
        try:
            if before.items() - finished(store).items():
                raise FaultError("the disturbed command made again what was finished")
            self._check_restart(root, placement)
        except FaultError as error:
            raise FaultError(f"{what}: {error}") from error

    def _signal(self, root: Path, placement: str, chance: random.Random) -> str:
        """Start the command, send it a signal, and see it end."""
        number, early = chance.choice(SIGNALS), chance.random() < 0.4
        target = chance.choice(("command", "group", "worker"))
        if placement in ("in-process", "stacked") and target == "worker":
            target = "command"
        after, artifacts = chance.uniform(0.0, STARTING_SECONDS if early else 0.1), chance.randint(1, 6)
        pick = chance.random()
        process = start_command(
            self.world.home,
            "run",
            str(self._study),
            "--quiet",
            "--store",
            str(root),
            *PLACEMENTS[placement][0],
        )
        what = f"{number.name} to the {target}"
        try:
            wait_until_ours(process)
            if not early:
                self._wait_for_artifacts(root, artifacts, process)
            time.sleep(after)
            workers = workers_of(process.pid)
            hit = process.poll() is None
            if not hit:
                pass
            elif target == "worker" and not workers:
                what = f"{number.name} to the command"
                process.send_signal(number)
            elif target == "worker":
                workers[int(pick * len(workers))].send_signal(number)
            elif target == "group":
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            sent = time.monotonic()
            try:
                process.wait(timeout=HUNG_SECONDS)
                ended = time.monotonic()
                out, err = process.communicate(timeout=HUNG_SECONDS)  # until no worker holds the pipes
            except Exception as error:
                raise FaultError(f"{what}: the command hung ({type(error).__name__})") from error
            # Its work was done: what it still did was to take down its modules.
            to_worker = what.endswith("worker")
            done = process.returncode == 0 and any(root.glob("aggregate/*/manifest.json"))
            missed = not hit or (done and not to_worker)
            if missed:
                self.tally.missed += 1
            else:
                self.tally.tried[placement, what] += 1
                if not to_worker and number is not signal.SIGKILL:
                    self.tally.longest_end = max(self.tally.longest_end, ended - sent)
            _check_end(None if missed or to_worker else number, process.returncode, out, err, what)
            alive = outlived(process.pid, OUTLIVED_SECONDS)
            self.tally.longest_life = max(self.tally.longest_life, time.monotonic() - ended)
            if alive:
                raise FaultError(f"{what}: still alive: {[each.cmdline() for each in alive]}")
        finally:
            for each in session_of(process.pid):
                each.kill()
            if process.poll() is None:
                process.kill()
                process.wait()
        return what

    def _wait_for_artifacts(self, root: Path, count: int, process: Any) -> None:
        """Until so many artifacts more are there than at first; a study that makes fewer ends before."""
        at_first = len(_manifests(root))
        while process.poll() is None and len(_manifests(root)) < at_first + count:
            time.sleep(0.005)

    def _check_restart(self, root: Path, placement: str) -> None:
        """Run a copy of the store to its end and compare."""
        from atlas_core.store import Store

        copy = self.scratch / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        if root.exists():
            shutil.copytree(root, copy)
        before = finished(Store(copy))
        self._run(copy, placement == "stacked")
        if before.items() - finished(Store(copy)).items():
            raise FaultError("the restart made again what was finished")
        if left := [path.name for path in (copy / ".tmp").iterdir()]:
            raise FaultError(f"after the restart there is {left} in .tmp")
        if not same(self._tables(copy), self._expected[placement == "stacked"], placement == "stacked"):
            raise FaultError("after the restart the tables are others")

    def _undisturbed(self, stacked: bool) -> dict[str, Any]:
        root = self.scratch / f"undisturbed-{stacked}"
        self._run(root, stacked)
        return self._tables(root)

    def _run(self, root: Path, stacked: bool) -> None:
        from atlas_core.placement import Placement
        from atlas_core.plan.session import run_study
        from atlas_core.presets import validate_study
        from tests.tiny_study import RecordingObserver

        placement = Placement(home=self.world.home, store=root, workers=0, stack="auto" if stacked else 1)
        run_study(validate_study(self._raw, "tiny"), placement, observer=RecordingObserver())

    def _tables(self, root: Path) -> dict[str, Any]:
        from atlas_core.store import Store
        from tests.faults.world import tables_of

        return tables_of(Store(root))

    def _keep(self, root: Path, told: str, error: Exception) -> None:
        place = self.kept / f"{time.time_ns()}"
        place.mkdir(parents=True)
        trace = "".join(traceback.format_exception(error))
        (place / "fault.txt").write_text(f"{told}\n{trace}", encoding="utf-8", errors="backslashreplace")
        if root.exists():
            shutil.copytree(root, place / "store", symlinks=True)


def _heed_signals() -> None:
    """Ignore none: a command that is started by a shell in the background would ignore Ctrl-C, as it should."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def _check_end(number: signal.Signals | None, status: int, out: str, err: str, what: str) -> None:
    """What the command says at its end; no number stands for a signal that it did not get itself."""
    from atlas_core.interruption import STOPPED

    if number is None:
        if status not in (0, 1) or "Traceback" in err or (status == 1) == (err.strip() == ""):
            raise FaultError(f"{what}: status {status} and {err[-2000:]!r}")
    elif number is signal.SIGKILL:
        if status != -signal.SIGKILL or err:
            raise FaultError(f"{what}: status {status} and {err[-2000:]!r}")
    elif (status, out, err.strip()) != (128 + number, "", STOPPED):
        raise FaultError(f"{what}: status {status}, {out[-500:]!r} and {err[-2000:]!r}")


def finished(store: Any) -> dict[tuple[str, str], str]:
    """The whole artifacts of a store, with the time each was made at."""
    return {
        (each.stage, each.key): str(each.created)
        for each in store.manifests()
        if store.lookup(each.stage, each.key) is not None
    }


def same(found: Any, expected: Any, roughly: bool) -> bool:
    """Whether tables are equal: to the bit, or as a stack of fewer members rounds."""
    if roughly and isinstance(found, float) and isinstance(expected, float):
        return found == expected or abs(found - expected) <= 1e-4 * max(1.0, abs(expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k], roughly) for k in found)
    if isinstance(found, list) and isinstance(expected, list):
        pairs = zip(found, expected, strict=False)
        return len(found) == len(expected) and all(same(a, b, roughly) for a, b in pairs)
    return bool(found == expected)


def _manifests(root: Path) -> list[Path]:
    return list(root.glob("*/*/manifest.json"))

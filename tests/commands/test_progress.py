"""What a user sees while a study runs."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from atlas_core.commands import progress
from atlas_core.commands.progress import ConsoleObserver
from atlas_core.placement import Placement
from atlas_core.plan.session import StudySession, run_study
from atlas_core.plan.workers import JobFailure
from atlas_core.presets import load_study
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world


@pytest.mark.parametrize("terminal", [False, True])
def test_a_failure_is_shown_word_for_word_whatever_it_says(terminal: bool, tmp_path: Path) -> None:
    session = StudySession(load_study("base-to-new-demo"), Placement(home=tmp_path / "[/home]", workers=0))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    observer = ConsoleObserver(console, workers=1)
    observer.begin(session)
    observer.done(JobFailure("index/[bold]x[/y]", "class \x1b[2J '[/]' of [red]birds", ""))
    observer.end(session)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert r"failed index/[bold]x[/y]: class \x1b[2J '[/]' of [red]birds" in said
    assert "[/home]" in said


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    return make_world(tmp_path_factory.mktemp("shown"))


class Clock:
    """Stands for `time.monotonic`: it moves so far at every look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 100.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def shown(world: TinyWorld, monkeypatch: pytest.MonkeyPatch, *, terminal: bool, step: float) -> str:
    """What a console shows of a run of the study (30 artifacts the first time), the clock moving so far a look."""
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=Clock(step)))
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160, color_system=None)
    study = world.study(supervisions=["one_hot", "ls"])
    run_study(study, world.placement, observer=ConsoleObserver(console, workers=1))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def artifacts(world: TinyWorld) -> int:
    return len(list(Store(world.placement.store_path).manifests()))


def test_a_log_file_gets_a_line_now_and_then_and_a_sum_a_stage(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path / "home")
    said = shown(world, monkeypatch, terminal=False, step=20.0)
    total = artifacts(world)
    assert f"tiny: 4 runs, {total} artifacts → {world.placement.store_path}" in said
    assert "what I understood" in said
    steps = re.findall(r"^  (\d+) made, (\d+) cached, (\d+) left · runs (\d)/4(.*)$", said, re.MULTILINE)
    # A line a job but the last, after which nothing is left.
    assert [(int(made), int(left)) for made, _, left, _, _ in steps] == [
        (n, total - n) for n in range(1, total)
    ]
    assert [int(runs) for *_, runs, _ in steps][-1] == 4
    assert all(re.fullmatch(r" · \S+ (s|min|h) to go", rest) for *_, rest in steps)
    assert re.search(r"^  tune +4 made +0 cached$", said, re.MULTILINE)
    assert re.search(r"^  in [0-9.]+ s$", said, re.MULTILINE)
    assert "\x1b" not in said
    again = shown(world, monkeypatch, terminal=False, step=20.0)
    assert re.search(r"^  tune +0 made +4 cached$", again, re.MULTILINE)
    assert "to go" not in again


def test_a_log_file_of_a_quick_study_has_no_line_for_each_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shown(make_world(tmp_path / "home"), monkeypatch, terminal=False, step=0.0)
    # One, because the last line was never written.
    assert len(re.findall(r"\d+ left", said)) == 1


def test_a_terminal_gets_one_bar_that_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path / "home")
    said = shown(world, monkeypatch, terminal=True, step=2.0)
    assert "\x1b[?25l" in said, "the bar hides the cursor"
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l"), "and shows it again"
    # The bar's line is erased at the end, and what stays is the sum.
    after = said[said.rindex("\x1b[2K") :]
    assert re.search(r"tune +4 made +0 cached", after)
    assert "left" not in after


def test_what_failed_and_what_was_not_reached_is_left(world: TinyWorld) -> None:
    session = StudySession(world.study(supervisions=["one_hot"]), world.placement)
    console = Console(file=io.StringIO(), force_terminal=False, width=160, color_system=None)
    observer = ConsoleObserver(console, workers=2)
    observer.begin(session)
    observer.done(JobFailure("fetch/ponds", "no such folder", ""))
    assert re.search(r"fetch +0 made +0 cached, 2 left", observer.summary())
    assert "failed fetch/ponds: no such folder" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (36_000, "10.0 h")],
)
def test_times_are_readable(seconds: float, expected: str) -> None:
    assert progress.readable_seconds(seconds) == expected

"""What a user sees while a study runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from atlas_core.commands.progress import ConsoleObserver
from atlas_core.placement import Placement
from atlas_core.plan.session import StudySession
from atlas_core.plan.workers import JobFailure
from atlas_core.presets import load_study


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

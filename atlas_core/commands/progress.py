"""What a user sees while a study runs: one bar, stages and runs done, left and cached, and the time to go."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from atlas_core.manifest import Manifest
from atlas_core.plan.cost_numbers import device_class
from atlas_core.plan.estimate import Costs, seconds_to_go
from atlas_core.plan.node import Node
from atlas_core.plan.session import StudySession
from atlas_core.plan.workers import JobFailure, Outcome
from atlas_core.shown import shown_in_markup
from atlas_core.stages.stage import STAGE_ORDER, Job
from atlas_core.understanding.study import Understanding
from atlas_core.understanding.text import understanding_lines

# A terminal gets a moving bar; a log file gets a line now and then.
_LOG_EVERY_SECONDS = 15.0
_GUESS_EVERY_SECONDS = 1.0


class ConsoleObserver:
    """Shows a study's progress on a console."""

    def __init__(self, console: Console, *, workers: int) -> None:
        self.console = console
        self.workers = max(1, workers)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = self._guessed_at = 0.0
        self._guess = ""

    def begin(self, session: StudySession) -> None:
        self._started = time.monotonic()
        self._stage_of = {node.name: node.stage for node in session.graph.nodes}
        self._total = {stage: len(session.graph.of_stage(stage)) for stage in STAGE_ORDER}
        self._ended: set[str] = set()
        self._cached = dict.fromkeys(STAGE_ORDER, 0)
        self._made = dict.fromkeys(STAGE_ORDER, 0)
        self._failed = 0
        self._store = session.resolver.store
        self._device = device_class(session.placement.device)
        self._costs: Costs | None = None
        self._nodes = session.graph.nodes
        title = f"{session.study.name}: {self._total['tune']} runs, {len(self._nodes)} artifacts"
        where = shown_in_markup(str(session.resolver.store.root))
        self.console.print(f"[bold]{title}[/bold] → {where}", soft_wrap=True)
        for line in session.notes():
            self.console.print(f"[yellow]note[/yellow] {shown_in_markup(line)}", soft_wrap=True)
        if self.console.is_terminal:
            columns = (SpinnerColumn(), BarColumn(24), TextColumn("{task.description}"), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self.console, transient=True)
            self._task = self._progress.add_task("", total=len(self._nodes))
            self._progress.start()

    def understood(self, understanding: Understanding) -> None:
        print_understanding(self.console, understanding)

    def queued(self, job: Job) -> None:
        """Nothing to show: it counts among those left."""

    def cached(self, node: Node, manifest: Manifest) -> None:
        self._cached[node.stage] += 1
        self._ended.add(node.name)
        self._show()

    def done(self, outcome: Outcome) -> None:
        self._ended.add(outcome.name)
        for line in outcome.account.warnings if outcome.account else ():
            self.console.print(f"[yellow]note[/yellow] {shown_in_markup(line)}", soft_wrap=True)
        if isinstance(outcome, JobFailure):
            self._failed += 1
            what = shown_in_markup(f"{outcome.name}: {outcome.message}")
            self.console.print(f"[red]failed[/red] {what}", soft_wrap=True)
        else:
            counts = self._cached if outcome.cached else self._made
            counts[self._stage_of[outcome.name]] += 1
            if not outcome.cached:
                self._known_costs().add(outcome.name, outcome.wall_seconds)
        self._show()

    def end(self, session: StudySession) -> None:
        if self._progress is not None:
            self._progress.stop()
        self.console.print(self.summary(), soft_wrap=True)

    def summary(self) -> str:
        """One line a stage: made, cached, left."""
        lines = []
        for stage, total in self._total.items():
            if total:
                made, cached = self._made[stage], self._cached[stage]
                left = total - made - cached
                rest = f", {left} left" if left else ""
                lines.append(f"  {stage:<15} {made:>5} made  {cached:>5} cached{rest}")
        seconds = time.monotonic() - self._started
        return "\n".join([*lines, f"  in {seconds:.1f} s"])

    def _show(self) -> None:
        made, cached = sum(self._made.values()), sum(self._cached.values())
        runs = self._made["tune"] + self._cached["tune"]
        left = len(self._nodes) - len(self._ended)
        text = f"{made} made, {cached} cached, {left} left · runs {runs}/{self._total['tune']}{self._to_go()}"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=len(self._ended), description=text)
        elif time.monotonic() - self._last_line > _LOG_EVERY_SECONDS and left:
            self._last_line = time.monotonic()
            self.console.print(f"  {text}", soft_wrap=True)

    def _known_costs(self) -> Costs:
        """What such jobs have cost on this store; read when the first job is made, never in a cached study."""
        if self._costs is None:
            self._costs = Costs.from_manifests(self._store.manifests(), self._device)
            self._costs.expect(self._nodes)
        return self._costs

    def _to_go(self) -> str:
        """The time to go, found anew once a second: a study may have thousands of nodes."""
        if sum(self._made.values()) and time.monotonic() - self._guessed_at > _GUESS_EVERY_SECONDS:
            self._guessed_at = time.monotonic()
            waiting = [node for node in self._nodes if node.name not in self._ended]
            seconds = seconds_to_go(waiting, self._known_costs(), self.workers)
            self._guess = f" · {readable_seconds(seconds)} to go"
        return self._guess


def print_understanding(console: Console, understanding: Understanding) -> None:
    """The block "what I understood", its oddities in colour."""
    for line in understanding_lines(understanding):
        style = "yellow" if line.lstrip().startswith("odd ") else None
        console.print(line, style=style, soft_wrap=True, markup=False)


def readable_seconds(seconds: float) -> str:
    """ "42 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

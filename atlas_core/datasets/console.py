"""Progress of several datasets on a terminal, or as a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from atlas_core.datasets.progress import Progress, ProgressCallback


@contextmanager
def reporting(console: Console) -> Iterator[ProgressCallback]:
    """A callback that shows what it is told; it may be called from several threads."""
    if console.is_terminal:
        with _bars(console) as bars:
            yield _on_bars(bars)
    else:
        yield _as_lines(console)


def _bars(console: Console) -> Bars:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
    return Bars(*columns, TimeRemainingColumn(), console=console)


def _on_bars(bars: Bars) -> ProgressCallback:
    tasks: dict[tuple[str, str], TaskID] = {}
    lock = Lock()

    def tell(progress: Progress) -> None:
        key = (progress.dataset, progress.step)
        with lock:
            if key not in tasks:
                for other in [other for other in tasks if other[0] == progress.dataset]:
                    bars.remove_task(tasks.pop(other))
                label = f"{progress.dataset}: {progress.step}"
                tasks[key] = bars.add_task(label, total=None, amount="")
            amount = _amount(progress)
            bars.update(tasks[key], completed=progress.done, total=progress.total, amount=amount)

    return tell


def _amount(progress: Progress) -> str:
    """ "3.1 MB of 137.4 MB" of a download, else "500 of 2,800" files."""
    as_text = decimal if progress.step.startswith("downloading") else "{:,}".format
    done = as_text(progress.done) if progress.done else ""
    return f"{done} of {as_text(progress.total)}" if progress.total else done


def _as_lines(console: Console) -> ProgressCallback:
    told: set[tuple[str, str]] = set()
    lock = Lock()

    def tell(progress: Progress) -> None:
        key = (progress.dataset, progress.step)
        with lock:
            if key in told:
                return
            told.add(key)
        console.print(f"{progress.dataset}: {progress.step}", markup=False)

    return tell

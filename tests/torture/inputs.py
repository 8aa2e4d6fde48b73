"""New inputs of every format, drawn from a seed, for as long as there is time."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.torture.bounded import Reader, Tally, in_child
from tests.torture.format import Format, put
from tests.torture.formats import formats

_EACH_ROUND = 50


def torture(seed: int, seconds: float, kept: Path, names: list[str] | None = None) -> dict[str, Tally]:
    """Read inputs of all formats in turn until the time is over; the same seed draws the same inputs."""
    chosen = [each for name, each in formats().items() if not names or name in names]
    tallies = {each.name: Tally() for each in chosen}
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="atlas-torture-") as scratch:
        turns = ((number, each) for number in itertools.count() for each in chosen)
        for number, each in itertools.takewhile(lambda _: time.monotonic() < end, turns):
            tallies[each.name].add(read_drawn(each, seed * 1_000_003 + number, Path(scratch), kept))
    return tallies


def read_drawn(chosen: Format, seed: int, scratch: Path, kept: Path, examples: int = _EACH_ROUND) -> Tally:
    """Draw some inputs of a format and read each in a bounded child."""

    def draw(reader: Reader) -> None:
        @hypothesis.seed(seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(chosen.damaged)
        def each(files: dict[str, bytes]) -> None:
            reader(lambda place: put(files, place))

        each()

    return in_child(draw, chosen.read, scratch / "one", kept)


def summary(tallies: dict[str, Tally]) -> str:
    """A line a format, then the sum."""
    total = Tally()
    lines = [f"{'format':<20} {'inputs':>7} {'results':>8} {'refused':>8} {'faults':>7}"]
    for name, tally in tallies.items():
        total.add(tally)
        lines.append(_line(name, tally))
        lines += [f"    {times} × {what}" for what, times in tally.faults.items()]
    return "\n".join([*lines, _line("together", total)])


def _line(name: str, tally: Tally) -> str:
    faults = sum(tally.faults.values())
    return f"{name:<20} {tally.inputs:>7} {tally.results:>8} {tally.refused:>8} {faults:>7}"

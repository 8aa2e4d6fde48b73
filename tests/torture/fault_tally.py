"""What faults were tried, and how they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class FaultTally:
    """What was tried and how it ended.

    Attributes:
        tried: Placement, and signal with its target or damage → how often.
        missed: Commands that had ended before their moment came.
        harmful: What went wrong → how often.
        longest_end: Seconds from a signal (not KILL) to the end of the command, at most.
        longest_life: Seconds that a process lived after its command, at most.
    """

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: int = 0
    harmful: Counter[str] = field(default_factory=Counter)
    longest_end: float = 0.0
    longest_life: float = 0.0

    def add(self, other: FaultTally) -> None:
        self.tried += other.tried
        self.missed += other.missed
        self.harmful += other.harmful
        self.longest_end = max(self.longest_end, other.longest_end)
        self.longest_life = max(self.longest_life, other.longest_life)


def summary(tally: FaultTally, places: Sequence[str]) -> str:
    """A line for each kind of fault with its count by place, then the sum."""
    kinds = sorted({what for _, what in tally.tried})
    head = "".join(f"{place:>12}" for place in places)
    lines = [f"{'fault':<24}{head}{'together':>10}"]
    for what in kinds:
        counts = [tally.tried[place, what] for place in places]
        lines.append(f"{what:<24}{''.join(f'{count:>12}' for count in counts)}{sum(counts):>10}")
    sums = [sum(n for (at, _), n in tally.tried.items() if at == place) for place in places]
    lines.append(f"{'together':<24}{''.join(f'{count:>12}' for count in sums)}{sum(sums):>10}")
    lines.append(
        f"{tally.missed} commands had ended before their moment; a signal ended a command within "
        f"{tally.longest_end:.1f} s, and a worker lived at most {tally.longest_life:.1f} s longer"
    )
    lines += [f"    {times} × {what}" for what, times in tally.harmful.items()]
    return "\n".join([*lines, f"{sum(tally.harmful.values())} did harm"])

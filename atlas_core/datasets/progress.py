"""What a long step on a dataset tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What is being done to a dataset, and how far it is.

    Args:
        dataset: Catalogue name.
        step: "downloading images.tar.gz".
        done: Bytes (or files, when verifying) so far.
        total: Of how many; None while unknown.
    """

    dataset: str
    step: str
    done: int = 0
    total: int | None = None


ProgressCallback = Callable[[Progress], None]
Counter = Callable[[int, int | None], None]
"""Takes (done, total) of one step."""


def silent(_: Progress) -> None:
    """Tell nobody."""

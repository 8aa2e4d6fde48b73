"""What a reader understood of a dataset beside its items: why, what it left out, and what is odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from atlas_core.errors import AtlasError

# Files that usually lie beside images.
_SIDE = (
    ".txt .md .rst .json .jsonl .csv .tsv .xml .yaml .yml .html .db .ini .mat .log .pdf .url .parquet .zip .tar .gz "
    ".tgz .py .ipynb .bib"
)
_SIDE_FILES = frozenset(_SIDE.split())


@dataclass(frozen=True)
class Oddity:
    """Something that may not be what its owner means; `--strict` makes it an error.

    Attributes:
        kind: For programs ("dead-links").
        text: A sentence for people, without a full stop.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Ignored:
    """Files that were left out for one reason.

    Attributes:
        what: "images directly in train", "other files (3 .txt)".
        examples: The first few of their paths.
        odd: Whether that may be a mistake.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()
    odd: bool = False


@dataclass(frozen=True)
class Reading:
    """How a layout was understood.

    Attributes:
        why: "class folders below train and test".
    """

    why: str = ""
    ignored: tuple[Ignored, ...] = ()
    oddities: tuple[Oddity, ...] = ()


PLAIN = Reading()


def ignored(what: str, paths: Sequence[str], *, odd: bool = False) -> tuple[Ignored, ...]:
    """One entry for `paths`, none where there are none."""
    return (Ignored(what, len(paths), tuple(paths[:3]), odd),) if paths else ()


def ignored_files(others: Sequence[str], dead_links: Sequence[str]) -> tuple[Ignored, ...]:
    """The files that no reader takes for images: usual side files, strange ones, and dead links."""
    side = [path for path in others if is_side_file(path)]
    strange = [path for path in others if not is_side_file(path)]
    return (
        *ignored(f"files beside the images ({_endings(side)})", side),
        *ignored(f"files whose endings are no image's ({_endings(strange)})", strange, odd=True),
        *ignored("dead links", dead_links, odd=True),
    )


def two_readings(what: str, readings: Sequence[tuple[str, str]], fix: str) -> AtlasError:
    """The error for what can be read in several ways.

    Args:
        what: What it is, by its name.
        readings: (option that picks it, what it gives).
    """
    number = {2: "two", 3: "three", 4: "four"}.get(len(readings), str(len(readings)))
    said = "; or ".join(f"`{option}`, which gives {gives}" for option, gives in readings)
    return AtlasError(f"{what} has {number} readings", expected=said, fix=fix)


def first_few(names: Iterable[Any], most: int = 3) -> str:
    """ "a, b, c and 4 more"."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def is_side_file(path: str) -> bool:
    """Whether a file's ending is one of those that usually lie beside images (.txt, .csv, .json, …)."""
    return _ending(path) in _SIDE_FILES


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _endings(paths: Sequence[str]) -> str:
    counts = Counter(_ending(path) or "no ending" for path in paths)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common(5))

"""How much an input may ask for: every bound in one place, and one error where one is passed.

A bound is checked before what it bounds is read or built, or, where only reading can tell, while it is read: the
sizes that a file declares can lie. docs/faults.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from atlas_core.errors import AtlasError


@dataclass(frozen=True)
class Budget:
    """An upper bound.

    Args:
        most: The largest amount that is let through.
        unit: Of what ("bytes of text").
    """

    most: int
    unit: str

    def check(self, amount: int, what: str) -> None:
        """Let an amount through, or say whose it is and what the bound is.

        Raises:
            AtlasError: It is more than the bound.
        """
        if amount > self.most:
            raise self.passed(what)

    def passed(self, what: str) -> AtlasError:
        """The error of a bound that was passed, to be raised."""
        return AtlasError(
            f"{what} asks for too much: more than {self.most:,} {self.unit}",
            expected=f"at most {self.most:,} {self.unit}",
            fix="check where it is from; if it is what you want, raise the bound in atlas_core/budgets.py",
        )


# Text: a study, a dataset's description, a model config; and files that list every image of a dataset.
DESCRIPTION_BYTES: Final = Budget(1 << 20, "bytes of text")
LIST_BYTES: Final = Budget(64 << 20, "bytes of text")
LIST_VALUES: Final = Budget(8_000_000, "values")
NESTING: Final = Budget(64, "levels of nesting")
VALUES: Final = Budget(60_000, "values, counting those behind aliases each time")

ENTRIES: Final = Budget(1000, "entries in one list")
RUNS: Final = Budget(200_000, "runs in a study")

# Tables: one row an image.
TABLE_BYTES: Final = Budget(512 << 20, "bytes of a table")
ROWS: Final = Budget(4_000_000, "rows")
COLUMNS: Final = Budget(10_000, "columns")
CELL: Final = Budget(4096, "characters in a cell")

DOWNLOAD_BYTES: Final = Budget(400 << 30, "bytes")

# Archives. Names are counted in bytes, as file systems do.
PATH_BYTES: Final = Budget(4096, "bytes in a path")
NAME_BYTES: Final = Budget(255, "bytes in a file's name")
PATH_DEPTH: Final = Budget(64, "folders in a path")
HEADER_BYTES: Final = Budget(1 << 16, "bytes in a tar header")
DIRECTORY_BYTES: Final = Budget(128 << 20, "bytes in the archive's own list of its files")

# Models: the largest CLIPs that open_clip knows have 5 billion parameters in towers of 64 blocks.
LAYERS: Final = Budget(256, "layers in a tower")
CONTEXT: Final = Budget(4096, "tokens in a prompt")
PATCHES: Final = Budget(1 << 16, "patches in an image")
IMAGE_SIDE: Final = Budget(8192, "pixels on an image's side")
PARAMETERS: Final = Budget(10_000_000_000, "parameters")


@dataclass(frozen=True)
class Limits:
    """Bounds of what an archive, or a file of packed images, may unpack to.

    Args:
        files: Number of members, folders and links among them.
        bytes: Bytes in all.
        ratio: Bytes for each byte of the archive, where that is more than `free_bytes`.
        free_bytes: What any archive may unpack to, however small it is.
    """

    files: int = 2_000_000
    bytes: int = DOWNLOAD_BYTES.most
    ratio: int = 200
    free_bytes: int = 1 << 30

    def account(self, what: str, packed_bytes: int) -> Account:
        """An account for one archive of `packed_bytes`."""
        allowed = min(self.bytes, max(self.ratio * packed_bytes, self.free_bytes))
        return Account(what, Budget(self.files, "files"), Budget(allowed, "bytes when unpacked"))


USUAL: Final = Limits()
PACKED_WEIGHTS: Final = Limits(ratio=4, free_bytes=1 << 26)


@dataclass
class Account:
    """What has come out of one archive so far."""

    what: str
    members: Budget
    unpacked: Budget
    _members: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def member(self) -> None:
        """Count a member; raises an AtlasError when there are too many."""
        self._members += 1
        self.members.check(self._members, self.what)

    def expect(self, size: int) -> None:
        """Refuse what declares itself too large, before a byte of it is written."""
        self.unpacked.check(self._bytes + size, self.what)

    def add(self, size: int) -> None:
        """Count bytes about to be written; raises an AtlasError when there are too many."""
        self._bytes += size
        self.unpacked.check(self._bytes, self.what)


def check_path(path: str, where: str) -> None:
    """Refuse a path that no file system takes, or that is nested beyond use.

    Raises:
        AtlasError: It is too long or too deep, or has a part that is too long; `where` names it.
    """
    shown = f"{where}: {path[:40]!r}…"
    PATH_BYTES.check(len(path), shown)
    parts = path.split("/")
    PATH_DEPTH.check(len(parts), shown)
    for part in parts:
        NAME_BYTES.check(len(part.encode("utf-8", "surrogatepass")), shown)

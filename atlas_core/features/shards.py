"""Shards of an extraction: finished rows on disk, so that a crash loses only what was being computed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atlas_core.features.atomic import replacing
from atlas_core.hashing import canonical_json

_PLAN: Final = "plan.json"


@dataclass
class ShardFolder:
    """The finished shards of one extraction, always the rows 0 … `next_row`-1 without a gap.

    Attributes:
        identity: Digest of everything that decides the result; another one means another extraction.
        partition: (first row, batch size) pairs. It is kept on disk because batches of other sizes give other
            last bits: an extraction that was interrupted goes on with the batches that it would have had.
    """

    folder: Path
    suffix: str
    identity: str
    partition: list[tuple[int, int]] = field(default_factory=list)
    shards: list[Path] = field(default_factory=list)
    next_row: int = 0

    @property
    def batch_size(self) -> int | None:
        """The batch size in force at `next_row`; None before the first one is set."""
        return self.partition[-1][1] if self.partition else None

    def set_batch_size(self, size: int) -> None:
        """Use batches of `size` from `next_row` on."""
        if size != self.batch_size:
            kept = [(row, each) for row, each in self.partition if row < self.next_row]
            self.partition = [*kept, (self.next_row, size)]
            self._write_plan()

    def path_until(self, end_row: int) -> Path:
        """Where the shard of the rows from `next_row` to `end_row` goes."""
        return self.folder / f"rows-{self.next_row:09d}-{end_row:09d}{self.suffix}"

    def add(self, path: Path, end_row: int) -> None:
        """Count a shard, written whole at `path_until(end_row)`, as finished."""
        self.shards.append(path)
        self.next_row = end_row

    def clear(self) -> None:
        """Remove the shards and the plan, and nothing else."""
        for path in [*self.folder.glob(f"rows-*{self.suffix}"), *self.folder.glob(".*.part")]:
            path.unlink()
        (self.folder / _PLAN).unlink(missing_ok=True)
        self.partition, self.shards, self.next_row = [], [], 0

    def _write_plan(self) -> None:
        plan = {"identity": self.identity, "partition": self.partition}
        with replacing(self.folder / _PLAN) as temporary:
            temporary.write_text(canonical_json(plan))


def open_shards(
    folder: Path, suffix: str, identity: str, is_whole: Callable[[Path], bool] = lambda path: True
) -> ShardFolder:
    """Take up the extraction in `folder` where it stopped; shards of another identity are removed first.

    A shard that is not whole (something else damaged it: shards appear only when finished) goes, and so do
    those after a gap.
    """
    opened = ShardFolder(folder, suffix, identity)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = json.loads((folder / _PLAN).read_text())
    except (FileNotFoundError, ValueError):
        plan = {}
    if plan.get("identity") != identity:
        opened.clear()
        return opened
    opened.partition = [(row, size) for row, size in plan["partition"]]
    for path in sorted(folder.glob(f"rows-*{suffix}")):
        first_row, end_row = (int(number) for number in path.name.removesuffix(suffix).split("-")[1:])
        if first_row == opened.next_row and is_whole(path):
            opened.add(path, end_row)
        else:
            path.unlink()
    # A batch size that was set beyond the gap is not in force yet.
    opened.partition = [(row, size) for row, size in opened.partition if row <= opened.next_row]
    return opened

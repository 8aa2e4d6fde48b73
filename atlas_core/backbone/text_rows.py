"""How the tokens of many prompts become rows of one matrix, each distinct token computed once.

With causal attention a token's state depends on the tokens before it alone, so prompts form trees: a token that
follows the same tokens in two prompts is one row. Rows are cut into tiles of some dozens, in which attention is
dense with a mask; a tree too large for one tile keeps its common prefix in its first tile, and its other tiles
borrow the prefix's keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

import numpy as np
import torch
from torch import Tensor

Path = Sequence[int]


@dataclass(frozen=True, eq=False)
class Tile:
    """Rows that attend to each other and to some borrowed rows, and to no others.

    Attributes:
        first, stop: The tile's rows.
        borrowed: First and stop of rows of an earlier tile whose keys and values come before the tile's own.
        mask: [rows, borrowed + rows] zero where the row sees the column, else -inf.
        ends: First and stop of the tile's rows among the end rows.
        end_mask: The mask's rows that are end rows.
    """

    first: int
    stop: int
    borrowed: tuple[int, int]
    mask: Tensor
    ends: tuple[int, int]
    end_mask: Tensor

    @property
    def n_borrowed(self) -> int:
        return self.borrowed[1] - self.borrowed[0]


@dataclass(frozen=True, eq=False)
class Rows:
    """Where the tokens of S prompts are among N rows, made from some source rows.

    Attributes:
        take: [N] the source row of each row, or None where rows are the source.
        positions: [N] in the prompt.
        groups: [N] which tree (prefix group) each row belongs to.
        ends: [E] rows of the distinct end tokens.
        end_of: [S] which of the end rows is each prompt's, or None where they are in the prompts' order.
        paths: For each prompt the rows of its tokens, start to end.
        replaced, context_rows: What `own_contexts` and `contexts` found before, by number of tokens.
        typed: What `with_masks` made before.
    """

    take: Tensor | None
    positions: Tensor
    groups: Tensor
    tiles: tuple[Tile, ...]
    ends: Tensor
    end_of: Tensor | None
    paths: tuple[Path, ...]
    tile_rows: int
    replaced: dict[int, Rows] = field(default_factory=dict, repr=False)
    context_rows: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    typed: dict[torch.dtype, Rows] = field(default_factory=dict, init=False, repr=False)

    @property
    def count(self) -> int:
        return self.positions.shape[0]

    @property
    def n_prompts(self) -> int:
        return len(self.paths)

    def with_masks(self, dtype: torch.dtype) -> Rows:
        """The same rows with masks of this type, that of the attention's scores."""
        if self.tiles[0].mask.dtype == dtype:
            return self
        if dtype not in self.typed:
            each_once = {
                id(mask): mask.to(dtype) for tile in self.tiles for mask in (tile.mask, tile.end_mask)
            }
            tiles = tuple(
                replace(tile, mask=each_once[id(tile.mask)], end_mask=each_once[id(tile.end_mask)])
                for tile in self.tiles
            )
            # What was found for the masks' own type has those masks in it.
            self.typed[dtype] = replace(self, tiles=tiles, replaced={})
        return self.typed[dtype]

    def contexts(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows at positions 1..count, and for each its place group·count + position - 1."""
        if count not in self.context_rows:
            places = ((self.positions >= 1) & (self.positions <= count)).nonzero()[:, 0]
            self.context_rows[count] = (places, self.groups[places] * count + self.positions[places] - 1)
        return self.context_rows[count]

    def own_contexts(self, count: int) -> Rows:
        """The rows after positions 1..count of every prompt got states of its own.

        Their sources are these rows, then `count` fresh rows for each prompt.
        """
        if count not in self.replaced:
            paths = []
            for prompt, path in enumerate(self.paths):
                first = self.count + prompt * count
                paths.append([path[0], *range(first, first + count), *path[1 + count :]])
            self.replaced[count] = arrange(paths, self.tile_rows, self.tiles[0].mask)
        return self.replaced[count]


def arrange(paths: Sequence[Path], tile_rows: int, like: Tensor) -> Rows:
    """Lay out prompts that are given as source rows, position by position.

    Args:
        paths: For each prompt the source rows of its tokens. Prompts whose first source row is the same form a
            tree, in which equal beginnings are shared.
        tile_rows: Rows a tile aims at: more waste arithmetic in attention, fewer run the kernels badly.
        like: A tensor of the dtype and on the device of the masks.
    """
    builder = _Builder(tile_rows)
    order = sorted(range(len(paths)), key=lambda prompt: tuple(paths[prompt]))
    rows_of: list[Path] = [()] * len(paths)
    for group, (_, members) in enumerate(groupby(order, key=lambda prompt: paths[prompt][0])):
        tree = list(members)
        for prompt, rows in zip(
            tree, builder.add_tree(group, [paths[prompt] for prompt in tree]), strict=True
        ):
            rows_of[prompt] = rows
    ends = sorted({rows[-1] for rows in rows_of})
    place = {row: index for index, row in enumerate(ends)}
    end_of = [place[rows[-1]] for rows in rows_of]
    device, masks = like.device, _Masks(like)
    in_order = end_of == list(range(len(ends)))
    identity = builder.take == list(range(len(builder.take)))
    return Rows(
        take=None if identity else torch.tensor(builder.take, device=device),
        positions=torch.tensor(builder.positions, device=device),
        groups=torch.tensor(builder.groups, device=device),
        tiles=tuple(masks.tile(span, builder.parents, ends) for span in builder.spans()),
        ends=torch.tensor(ends, device=device),
        end_of=None if in_order else torch.tensor(end_of, device=device),
        paths=tuple(rows_of),
        tile_rows=tile_rows,
    )


@dataclass
class _Span:
    first: int
    borrowed: tuple[int, int]
    stop: int = 0


class _Builder:
    """Rows and tiles, tree by tree."""

    def __init__(self, tile_rows: int) -> None:
        self.tile_rows = tile_rows
        self.take: list[int] = []
        self.positions: list[int] = []
        self.groups: list[int] = []
        self.parents: list[int] = []
        self._spans: list[_Span] = []
        self._open = False

    def add_tree(self, group: int, paths: list[Path]) -> list[Path]:
        """Add sorted paths with a common first source; the rows of each."""
        size = len(paths[0]) + sum(len(b) - _common(a, b) for a, b in pairwise(paths))
        whole = size <= self.tile_rows
        if not (whole and self._open and self._room() >= size):
            self._start_tile((len(self.take), len(self.take)))
        shared, first_row = _common(paths[0], paths[-1]), len(self.take)
        found: list[Path] = []
        previous: Path = ()
        trail: list[int] = []
        for path in paths:
            depth = _common(previous, path)
            if not whole and found and self._room() < len(path) - depth and depth < len(path):
                self._start_tile((first_row, first_row + shared))
                depth = shared
            trail = trail[:depth]
            for position in range(depth, len(path)):
                trail.append(self._add_row(group, position, path[position], trail))
            previous = path
            found.append(tuple(trail))
        self._open = whole
        return found

    def spans(self) -> list[_Span]:
        for span, after in zip(
            self._spans, [*(each.first for each in self._spans[1:]), len(self.take)], strict=True
        ):
            span.stop = after
        return self._spans

    def _room(self) -> int:
        return self.tile_rows - (len(self.take) - self._spans[-1].first)

    def _start_tile(self, borrowed: tuple[int, int]) -> None:
        self._spans.append(_Span(len(self.take), borrowed))

    def _add_row(self, group: int, position: int, source: int, trail: list[int]) -> int:
        self.take.append(source)
        self.positions.append(position)
        self.groups.append(group)
        self.parents.append(trail[-1] if trail else -1)
        return len(self.take) - 1


class _Masks:
    """Tiles with their masks; equal masks are one tensor."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._known: dict[tuple[tuple[int, ...], bytes], Tensor] = {}

    def tile(self, span: _Span, parents: list[int], ends: list[int]) -> Tile:
        first, stop = span.first, span.stop
        begin, after = span.borrowed
        borrowed = after - begin
        sees = np.zeros((stop - first, borrowed + stop - first), dtype=bool)
        for row in range(first, stop):
            parent = parents[row]
            if parent >= first:
                sees[row - first] = sees[parent - first]
            elif parent >= 0:
                sees[row - first, : parent + 1 - begin] = True
            sees[row - first, borrowed + row - first] = True
        low, high = np.searchsorted(ends, [first, stop]).tolist()
        chosen = np.asarray(ends[low:high], dtype=np.int64) - first
        return Tile(first, stop, span.borrowed, self._tensor(sees), (low, high), self._tensor(sees[chosen]))

    def _tensor(self, sees: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Tensor:
        key = (sees.shape, sees.tobytes())
        if key not in self._known:
            mask = torch.zeros(sees.shape, dtype=self._like.dtype, device=self._like.device)
            hidden = torch.from_numpy(~sees).to(self._like.device)
            self._known[key] = mask.masked_fill_(hidden, float("-inf"))
        return self._known[key]


def _common(one: Path, other: Path) -> int:
    """How many first source rows two paths share."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count

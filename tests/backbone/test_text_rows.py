"""Prompts become rows: equal beginnings once, and every row sees its own beginning and nothing else."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.backbone.text import build_layout
from atlas_core.backbone.text_rows import Rows, arrange
from tests.small_clip import small_clip

LIKE = torch.zeros(1)


@st.composite
def prompts(draw: st.DrawFn) -> list[list[int]]:
    """Paths in which a source row always follows the same rows, as in a tree; three roots."""
    tails = draw(st.lists(st.tuples(st.integers(0, 2), st.text("ab", max_size=6)), min_size=1, max_size=12))
    known: dict[tuple[int, str], int] = {}
    found = []
    for root, tail in tails:
        beginnings = [tail[:length] for length in range(len(tail) + 1)]
        # An end token of its own, so that no prompt goes on after another's end.
        path = [known.setdefault((root, each), len(known)) for each in beginnings]
        found.append([*path, known.setdefault((root, tail + "."), len(known))])
    return found


def visible(rows: Rows, row: int) -> list[int]:
    """Which rows a row attends to."""
    tile = next(each for each in rows.tiles if each.first <= row < each.stop)
    columns = [*range(*tile.borrowed), *range(tile.first, tile.stop)]
    seen = (tile.mask[row - tile.first] == 0).tolist()
    return [column for column, is_seen in zip(columns, seen, strict=True) if is_seen]


@given(prompts(), st.integers(1, 12))
def test_every_row_sees_exactly_its_own_beginning(paths: list[list[int]], tile_rows: int) -> None:
    rows = arrange(paths, tile_rows, LIKE)
    take = list(range(rows.count)) if rows.take is None else rows.take.tolist()
    for path, own in zip(paths, rows.paths, strict=True):
        assert [take[row] for row in own] == path
        assert rows.positions[list(own)].tolist() == list(range(len(path)))
        for position, row in enumerate(own):
            assert visible(rows, row) == sorted(own[: position + 1])


@given(prompts(), st.integers(1, 12))
def test_end_rows_belong_to_their_prompts_and_tiles(paths: list[list[int]], tile_rows: int) -> None:
    rows = arrange(paths, tile_rows, LIKE)
    end_of = torch.arange(len(paths)) if rows.end_of is None else rows.end_of
    assert rows.ends[end_of].tolist() == [own[-1] for own in rows.paths]
    for tile in rows.tiles:
        mine = rows.ends[slice(*tile.ends)]
        assert bool(((mine >= tile.first) & (mine < tile.stop)).all())
        assert torch.equal(tile.end_mask, tile.mask[mine - tile.first])
    assert sum(tile.ends[1] - tile.ends[0] for tile in rows.tiles) == len(rows.ends)


@given(prompts())
def test_in_one_tile_no_token_is_computed_twice(paths: list[list[int]]) -> None:
    rows = arrange(paths, 1000, LIKE)
    assert rows.count == len({source for path in paths for source in path})


def test_names_that_begin_alike_share_their_first_tokens() -> None:
    tower = small_clip().text
    ids = small_clip().tokenize([f"a {name}." for name in ("sea or lake", "sea or river", "sea", "sea")])
    shared, apart = build_layout(tower, ids, 2), build_layout(tower, ids, 2, distinct=True)
    assert apart.n_tokens == 5 + 5 + 3 + 3
    # sea; or; lake . end; river . end; . end
    assert shared.n_tokens == 1 + 1 + 3 + 3 + 2


def test_own_contexts_end_all_sharing_but_the_start() -> None:
    rows = arrange([[0, 1, 2, 3], [0, 1, 2, 4]], 64, LIKE)
    assert rows.count == 5
    after = rows.own_contexts(1)
    assert after.count == 1 + 2 * 3
    assert after.take is not None
    assert [after.take[row].item() for row in after.paths[1]] == [0, 5 + 1, 2, 4]

"""Which tokens of a batch of prompts the caller embeds, and how they are arranged into rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from atlas_core.backbone.text_rows import Rows, arrange
from atlas_core.backbone.text_tower import TextTower, end_positions
from atlas_core.errors import AtlasError

# Rows a tile: on a CPU small tiles waste little arithmetic; a GPU needs fewer and larger kernels.
_TILE_ROWS = {"cpu": 64}
_TILE_ROWS_OTHERWISE = 256


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some prompts of a layout.

    Attributes:
        groups: Prefix groups that they use, or None for all.
        suffixes: Packed suffix tokens that they use, or None for all.
        rows: Their rows; the sources are the used groups' prefixes, then the used suffixes.
    """

    groups: Tensor | None
    suffixes: Tensor | None
    rows: Rows


@dataclass(frozen=True, eq=False)
class PromptLayout:
    """The real tokens of S prompts: `n_prefix` first positions given apart, then packed suffix tokens.

    A suffix token that follows the same tokens in several prompts is one packed token. With G prefix groups, group
    g owns the prompts g·S/G … (g+1)·S/G - 1.

    Attributes:
        n_prefix: P, positions 0 … P-1 of every prompt (start token and contexts).
        token_ids: [T] ids of the packed suffix tokens.
        positions: [T] their positions in the prompt.
        suffixes: For each prompt its packed tokens, through the end token.
        distinct: Whether every prompt has packed tokens of its own.
        tile_rows: Rows that a tile of the attention aims at.
    """

    n_prefix: int
    token_ids: Tensor
    positions: Tensor
    suffixes: tuple[tuple[int, ...], ...]
    distinct: bool
    tile_rows: int
    mask_like: Tensor = field(repr=False)
    known: dict[tuple[int, int | None], tuple[list[Chunk], Tensor | None]] = field(
        default_factory=dict, repr=False
    )

    @property
    def n_sequences(self) -> int:
        return len(self.suffixes)

    @property
    def n_tokens(self) -> int:
        """T, the number of packed suffix tokens."""
        return self.token_ids.shape[0]

    def repeat(self, copies: int) -> PromptLayout:
        """The layout of the same prompts once for each of `copies` prefix groups.

        Prompt g·C + c is prompt c under group g (an image of CoCoOp, or one of several stacked runs); its packed
        tokens are those of prompt c plus g·T.
        """
        if copies == 1:
            return self
        steps = [copy * self.n_tokens for copy in range(copies)]
        return replace(
            self,
            token_ids=self.token_ids.repeat(copies),
            positions=self.positions.repeat(copies),
            suffixes=tuple(tuple(token + step for token in each) for step in steps for each in self.suffixes),
            known={},
        )

    def flat_positions(self, positions: Tensor) -> Tensor:
        """Packed tokens at `positions` [S, M] (each from P on, within its prompt) -> [S, M].

        Raises:
            ValueError: A position is outside its suffix, or prompts share tokens (see `build_layout`).
        """
        if not self.distinct:
            raise ValueError("prompts share suffix tokens here: build the layout with distinct=True")
        found = []
        for suffix, wanted in zip(self.suffixes, (positions - self.n_prefix).tolist(), strict=True):
            if min(wanted) < 0 or max(wanted) >= len(suffix):
                raise ValueError("a position lies in the prefix or after its prompt's end token")
            found.append([suffix[each] for each in wanted])
        return torch.tensor(found, device=self.token_ids.device)

    def chunks(self, groups: int, size: int | None) -> tuple[list[Chunk], Tensor | None]:
        """The prompts in chunks of at most `size`, and where each prompt is in the chunks' order (None: there).

        Chunks are made of prompts that begin alike. What was arranged once is kept.
        """
        key = (groups, None if size is None or size >= self.n_sequences else size)
        if key not in self.known:
            self.known[key] = self._chunks(*key)
        return self.known[key]

    def _chunks(self, groups: int, size: int | None) -> tuple[list[Chunk], Tensor | None]:
        prompts, of_group = range(self.n_sequences), self.n_sequences // groups
        if size is None:
            return [self._chunk(list(prompts), groups)], None
        order = sorted(prompts, key=lambda prompt: (prompt // of_group, self.suffixes[prompt]))
        parts = [order[first : first + size] for first in range(0, len(order), size)]
        place = torch.tensor(order, device=self.token_ids.device).argsort()
        return [self._chunk(part, groups) for part in parts], place

    def _chunk(self, prompts: list[int], groups: int) -> Chunk:
        of_group = self.n_sequences // groups
        used_groups = sorted({prompt // of_group for prompt in prompts})
        used_tokens = sorted({token for prompt in prompts for token in self.suffixes[prompt]})
        group_place = {group: index * self.n_prefix for index, group in enumerate(used_groups)}
        first_token = len(used_groups) * self.n_prefix
        token_place = {token: first_token + index for index, token in enumerate(used_tokens)}
        paths = []
        for prompt in prompts:
            first = group_place[prompt // of_group]
            paths.append(
                [*range(first, first + self.n_prefix), *(token_place[t] for t in self.suffixes[prompt])]
            )
        device = self.token_ids.device
        all_groups, all_tokens = len(used_groups) == groups, len(used_tokens) == self.n_tokens
        return Chunk(
            groups=None if all_groups else torch.tensor(used_groups, device=device),
            suffixes=None if all_tokens else torch.tensor(used_tokens, device=device),
            rows=arrange(paths, self.tile_rows, self.mask_like),
        )


def build_layout(tower: TextTower, prompts: Tensor, n_prefix: int, *, distinct: bool = False) -> PromptLayout:
    """Lay out tokenised prompts for `encode_prompts`.

    Args:
        prompts: [C, L] token ids; ids at positions below `n_prefix` are placeholders and are not looked at,
            except to find the end token.
        n_prefix: P ≥ 1, positions that the caller gives as `prefix` (the start token, then contexts).
        distinct: Keep the suffix tokens of each prompt apart even where they begin with the same ids: for callers
            that put contexts among them (`flat_positions`).

    Raises:
        AtlasError: A prompt ends within the prefix, or is longer than the tower's context.
    """
    if prompts.shape[1] > tower.context_length:
        raise AtlasError(
            f"prompts of {prompts.shape[1]} tokens",
            expected=f"at most {tower.context_length}, the text tower's context length",
            fix="shorten the class names or use fewer context tokens",
        )
    ids = prompts.cpu()
    lengths = end_positions(tower, ids) + 1 - n_prefix
    if n_prefix < 1 or bool((lengths < 1).any()):
        worst = int(lengths.argmin())
        raise AtlasError(
            f"prompt {worst} ends at token {int(lengths[worst]) + n_prefix} of a prefix of {n_prefix}",
            expected="a start token and contexts first, then at least the end token",
            fix="tokenise each prompt with placeholders for all its context tokens",
        )
    texts = [
        row[n_prefix : n_prefix + length] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)
    ]
    nodes: dict[tuple[int, int, int], int] = {}
    suffixes = {}
    for prompt in sorted(range(len(texts)), key=lambda index: texts[index]):
        parent, tokens = -1, []
        for token in texts[prompt]:
            node = (prompt if distinct else 0, parent, token)
            parent = nodes.setdefault(node, len(nodes))
            tokens.append(parent)
        suffixes[prompt] = tuple(tokens)
    positions = torch.empty(len(nodes), dtype=torch.long)
    for each in suffixes.values():
        positions[list(each)] = torch.arange(n_prefix, n_prefix + len(each))
    return PromptLayout(
        n_prefix=n_prefix,
        token_ids=torch.tensor([token for _, _, token in nodes], device=tower.device),
        positions=positions.to(tower.device),
        suffixes=tuple(suffixes[prompt] for prompt in range(len(texts))),
        distinct=distinct,
        tile_rows=max(_TILE_ROWS.get(tower.device.type, _TILE_ROWS_OTHERWISE), 2 * n_prefix),
        mask_like=tower.positional,
    )


def common_prefix(prompts: Tensor, ends: Tensor) -> int:
    """How many first tokens all prompts share, at most up to the first end token: [C, L], [C] -> P ≥ 1."""
    same = (prompts == prompts[:1]).all(dim=0).int()
    shared = int(same.cumprod(0).sum())
    return max(1, min(shared, int(ends.min())))

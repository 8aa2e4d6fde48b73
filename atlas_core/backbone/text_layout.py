"""Where the real tokens of a batch of prompts are: a shared prefix, then packed suffixes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from atlas_core.backbone.text_tower import TextTower, end_positions
from atlas_core.errors import AtlasError


@dataclass(frozen=True)
class Bucket:
    """Sequences of one suffix length, which lie side by side in the packed rows.

    Attributes:
        first: Index of its first sequence among the sequences in packed order.
        count: How many sequences.
        length: Suffix tokens of each.
    """

    first: int
    count: int
    length: int

    @property
    def rows(self) -> int:
        return self.count * self.length


@dataclass(frozen=True, eq=False)
class PromptLayout:
    """The real tokens of S prompts: `n_prefix` first positions kept apart, the rest packed without padding.

    Sequences are packed in order of length (then group, then class), so sequences of one length are one
    block of memory. With G prefix groups, group g owns the sequences g·S/G … (g+1)·S/G - 1.

    Attributes:
        n_prefix: P, positions 0 … P-1 of every prompt (start token and contexts).
        token_ids: [T] ids of the packed suffix tokens, each suffix through its end token.
        positions: [T] their positions in the prompt.
        sequences: [T] which prompt each belongs to.
        order: [S] which prompt is at each place of the packed order.
        inverse: [S] the place of each prompt in the packed order.
        buckets: Runs of equal length, in packed order.
    """

    n_prefix: int
    token_ids: Tensor
    positions: Tensor
    sequences: Tensor
    order: Tensor
    inverse: Tensor
    buckets: tuple[Bucket, ...]

    @property
    def n_sequences(self) -> int:
        return self.order.shape[0]

    @property
    def n_tokens(self) -> int:
        """T, the number of packed suffix tokens."""
        return self.token_ids.shape[0]

    def repeat(self, copies: int) -> PromptLayout:
        """The layout of the same prompts once for each of `copies` prefix groups.

        Sequence g·C + c is prompt c under group g (an image of CoCoOp, or one of several stacked runs).
        """
        if copies == 1:
            return self
        device, each_copy = self.order.device, torch.arange(copies)
        order_here, first_rows = self.order.cpu(), self._first_rows()
        order, rows, copy_of_row = [], [], []
        for bucket in self.buckets:
            places = slice(bucket.first, bucket.first + bucket.count)
            order.append((each_copy[:, None] * self.n_sequences + order_here[places]).flatten())
            rows.append((first_rows[places, None] + torch.arange(bucket.length)).flatten().repeat(copies))
            copy_of_row.append(each_copy.repeat_interleave(bucket.rows))
        all_order, all_rows = torch.cat(order).to(device), torch.cat(rows).to(device)
        return replace(
            self,
            token_ids=self.token_ids[all_rows],
            positions=self.positions[all_rows],
            sequences=torch.cat(copy_of_row).to(device) * self.n_sequences + self.sequences[all_rows],
            order=all_order,
            inverse=all_order.argsort(),
            buckets=tuple(Bucket(b.first * copies, b.count * copies, b.length) for b in self.buckets),
        )

    def flat_positions(self, positions: Tensor) -> Tensor:
        """Packed rows of the tokens at `positions` [S, M] (each from P on, within its prompt) -> [S, M]."""
        first = self._first_rows().to(self.order.device)[self.inverse]
        rows = first[:, None] + positions.to(self.order.device) - self.n_prefix
        found = self.positions[rows.clamp(0, self.n_tokens - 1)]
        if bool((found != positions.to(found.device)).any()):
            raise ValueError("a position lies in the prefix or after its prompt's end token")
        return rows

    def split(self, size: int) -> list[tuple[slice, slice, PromptLayout]]:
        """Pieces of at most `size` sequences: (their places in packed order, their packed rows, a layout).

        A piece's layout numbers its sequences in packed order, so its features come out in packed order.
        """
        lengths = self._lengths().tolist()
        pieces, row = [], 0
        for first in range(0, self.n_sequences, size):
            part = lengths[first : first + size]
            places, rows = slice(first, first + len(part)), slice(row, row + sum(part))
            identity = torch.arange(len(part), device=self.order.device)
            piece = replace(
                self,
                token_ids=self.token_ids[rows],
                positions=self.positions[rows],
                sequences=self.inverse[self.sequences[rows]] - first,
                order=identity,
                inverse=identity,
                buckets=_buckets(part),
            )
            pieces.append((places, rows, piece))
            row += sum(part)
        return pieces

    def _lengths(self) -> Tensor:
        """[S] suffix lengths in packed order, on the CPU."""
        lengths = torch.tensor([each.length for each in self.buckets])
        return lengths.repeat_interleave(torch.tensor([each.count for each in self.buckets]))

    def _first_rows(self) -> Tensor:
        """[S] the first packed row of each sequence, in packed order, on the CPU."""
        lengths = self._lengths()
        return lengths.cumsum(0) - lengths


def build_layout(tower: TextTower, prompts: Tensor, n_prefix: int) -> PromptLayout:
    """Lay out tokenised prompts for `encode_prompts`.

    Args:
        prompts: [C, L] token ids; ids at positions below `n_prefix` are placeholders and are not looked at,
            except to find the end token.
        n_prefix: P ≥ 1, positions that the caller gives as `prefix` (the start token, then contexts).

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
    order = torch.argsort(lengths, stable=True)
    sequences = order.repeat_interleave(lengths[order])
    ordered = lengths[order].tolist()
    positions = torch.cat([torch.arange(n_prefix, n_prefix + each) for each in ordered])
    device = tower.device
    return PromptLayout(
        n_prefix=n_prefix,
        token_ids=ids[sequences, positions].to(device),
        positions=positions.to(device),
        sequences=sequences.to(device),
        order=order.to(device),
        inverse=order.argsort().to(device),
        buckets=_buckets(ordered),
    )


def common_prefix(prompts: Tensor, ends: Tensor) -> int:
    """How many first tokens all prompts share, at most up to the first end token: [C, L], [C] -> P ≥ 1."""
    same = (prompts == prompts[:1]).all(dim=0).int()
    shared = int(same.cumprod(0).sum())
    return max(1, min(shared, int(ends.min())))


def _buckets(lengths: list[int]) -> tuple[Bucket, ...]:
    """Runs of equal length."""
    found: list[Bucket] = []
    for place, length in enumerate(lengths):
        if found and found[-1].length == length:
            found[-1] = replace(found[-1], count=found[-1].count + 1)
        else:
            found.append(Bucket(place, 1, length))
    return tuple(found)

"""The fast text tower for prompts that share a prefix: the plain tower's features and gradients, sooner.

Four exact reductions, all consequences of causal attention: positions after the end token are never computed;
a prefix common to many prompts (start token, shared context) is computed once, with gradients through it;
suffixes are packed, so linears, norms and the MLP see real tokens only; in the last block only the end tokens
are carried on. `plain_forward` is what the results must equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from atlas_core.backbone.blocks import Block, add_attention, add_mlp, layer_norm, qkv
from atlas_core.backbone.text_layout import Bucket, PromptLayout, build_layout
from atlas_core.backbone.text_tower import (
    TextTower,
    embed_tokens,
    end_positions,
    extract_text_tower,
    plain_forward,
    project,
)

__all__ = [
    "PromptLayout",
    "TextTower",
    "build_layout",
    "embed_tokens",
    "encode_prompts",
    "end_positions",
    "extract_text_tower",
    "plain_forward",
]


@dataclass(frozen=True, eq=False)
class _Rows:
    """All states of a block's input as one matrix: first the prefixes of the G groups, then the suffixes.

    Attributes:
        states: [G·P + T, W].
        groups: G.
        n_prefix: P.
        buckets: Where the suffixes are.
        owner: [S] the group of each sequence in packed order, or None where G is 1.
    """

    states: Tensor
    groups: int
    n_prefix: int
    buckets: tuple[Bucket, ...]
    owner: Tensor | None

    @property
    def prefix_rows(self) -> int:
        return self.groups * self.n_prefix


def encode_prompts(
    tower: TextTower,
    layout: PromptLayout,
    prefix: Tensor,
    suffix: Tensor,
    deep_prompts: Tensor | None = None,
    replace: Mapping[int, Tensor] | None = None,
    chunks: int | None = None,
) -> Tensor:
    """Raw text features of prompts, with gradients to every argument that asks for them.

    Args:
        prefix: [G, P, W] (or [P, W], G = 1) start token and contexts, without positions. Group g is shared by
            the S/G consecutive sequences from g·S/G on: G = 1 one context for all, G = B images over
            `layout.repeat(B)`, G = S class-specific contexts.
        suffix: [T, W] word embeddings, without positions, of the layout's packed tokens.
        deep_prompts: [J, M, W] or [J, G, M, W]; item j-1 replaces positions 1..M at the input of block j.
        replace: {block: [S, M, W]} states of each sequence for positions 1..M at that block's input.
        chunks: Sequences a chunk (None: all at once). Chunks are computed one after another, and again in
            the backward pass, so that memory does not grow with the number of classes.

    Returns:
        [S, D] features in the order of the prompts, in the tower's dtype.

    Raises:
        ValueError: Shapes that do not fit the layout.
    """
    prefix = prefix[None] if prefix.dim() == 2 else prefix
    deep = None if deep_prompts is None else _deep_by_group(deep_prompts, prefix.shape[0])
    replace = replace or {}
    _check(tower, layout, prefix, suffix, deep, replace)
    ordered = {block: each.to(tower.dtype)[layout.order] for block, each in replace.items()}
    prefix, suffix = prefix.to(tower.dtype), suffix.to(tower.dtype)
    deep = None if deep is None else deep.to(tower.dtype)
    groups = prefix.shape[0]
    owner = None if groups == 1 else layout.order // (layout.n_sequences // groups)
    if chunks is None or layout.n_sequences <= chunks:
        return _encode(tower, layout, prefix, suffix, deep, ordered, owner)[layout.inverse]
    features = []
    for places, rows, piece in layout.split(chunks):
        part = {block: each[places] for block, each in ordered.items()}
        own_prefix, own_deep, own = prefix, deep, None
        if owner is not None:
            used, own = torch.unique(owner[places], return_inverse=True)
            own_prefix, own_deep = prefix[used], None if deep is None else deep[:, used]
            own = own if used.shape[0] > 1 else None
        arguments = (tower, piece, own_prefix, suffix[rows], own_deep, part, own)
        features.append(
            checkpoint(_encode, *arguments, use_reentrant=False, preserve_rng_state=False)
            if torch.is_grad_enabled()
            else _encode(*arguments)
        )
    return torch.cat(features)[layout.inverse]


def _encode(
    tower: TextTower,
    layout: PromptLayout,
    prefix: Tensor,
    suffix: Tensor,
    deep: Tensor | None,
    replace: Mapping[int, Tensor],
    owner: Tensor | None,
) -> Tensor:
    """Features in packed order."""
    groups, n_prefix, width = prefix.shape
    states = torch.cat(
        [
            (prefix + tower.positional[:n_prefix]).reshape(-1, width),
            suffix + tower.positional[layout.positions],
        ]
    )
    rows = _Rows(states, groups, n_prefix, layout.buckets, owner)
    last = tower.layers - 1
    for index, block in enumerate(tower.blocks):
        if deep is not None and 1 <= index <= deep.shape[0]:
            rows = _replace_shared(rows, deep[index - 1])
        if index in replace:
            rows = _replace_own(rows, replace[index])
        if index < last:
            rows = _with_states(rows, _block(block, rows))
    return project(tower, _last_block(tower.blocks[last], rows))


def _block(block: Block, rows: _Rows) -> Tensor:
    """One block over all rows: [G·P + T, W]."""
    joint = _heads(qkv(block, rows.states), block.heads)
    prefix = _prefix_heads(rows, joint)
    attended = [_merge(F.scaled_dot_product_attention(prefix[0], prefix[1], prefix[2], is_causal=True))]
    q, k, v = joint[:, rows.prefix_rows :]
    row = 0
    for bucket in rows.buckets:
        taken = slice(row, row + bucket.rows)
        keys = _with_prefix(rows, bucket, prefix[1], _by_sequence(k[taken], bucket))
        values = _with_prefix(rows, bucket, prefix[2], _by_sequence(v[taken], bucket))
        mask = _causal(bucket.length, rows.n_prefix, keys)
        queries = _by_sequence(q[taken], bucket)
        attended.append(_merge(F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)))
        row += bucket.rows
    return add_mlp(block, add_attention(block, rows.states, torch.cat(attended)))


def _last_block(block: Block, rows: _Rows) -> Tensor:
    """The last block for the end tokens alone: [S, W] in packed order."""
    width = rows.states.shape[1]
    normed = layer_norm(rows.states, block.norm_1)
    ends = _end_rows(rows)
    queries = F.linear(normed[ends], block.qkv_weight[:width], block.qkv_bias[:width])
    joint = _heads(F.linear(normed, block.qkv_weight[width:], block.qkv_bias[width:]), block.heads, 2)
    prefix = _prefix_heads(rows, joint)
    k, v = joint[:, rows.prefix_rows :]
    attended, row = [], 0
    for bucket in rows.buckets:
        taken = slice(row, row + bucket.rows)
        keys = _with_prefix(rows, bucket, prefix[0], _by_sequence(k[taken], bucket))
        values = _with_prefix(rows, bucket, prefix[1], _by_sequence(v[taken], bucket))
        query = queries[bucket.first : bucket.first + bucket.count].view(bucket.count, 1, block.heads, -1)
        attended.append(_merge(F.scaled_dot_product_attention(query.transpose(1, 2), keys, values)))
        row += bucket.rows
    return add_mlp(block, add_attention(block, rows.states[ends], torch.cat(attended)))


def _heads(joint: Tensor, heads: int, parts: int = 3) -> Tensor:
    """[N, parts·W] -> [parts, N, heads, W/heads] as a view."""
    return joint.view(joint.shape[0], parts, heads, -1).transpose(0, 1)


def _prefix_heads(rows: _Rows, joint: Tensor) -> tuple[Tensor, ...]:
    """The prefixes' queries, keys and values, each [G, heads, P, d]."""
    parts = joint[:, : rows.prefix_rows]
    return tuple(each.view(rows.groups, rows.n_prefix, *each.shape[1:]).transpose(1, 2) for each in parts)


def _by_sequence(packed: Tensor, bucket: Bucket) -> Tensor:
    """A bucket's [rows, heads, d] as [count, heads, length, d], a view."""
    return packed.view(bucket.count, bucket.length, *packed.shape[1:]).transpose(1, 2)


def _with_prefix(rows: _Rows, bucket: Bucket, prefix: Tensor, own: Tensor) -> Tensor:
    """A bucket's keys (or values) after those of its prefix: [count, heads, P + length, d]."""
    if rows.owner is None:
        return torch.cat([prefix.expand(bucket.count, -1, -1, -1), own], dim=2)
    owner = rows.owner[bucket.first : bucket.first + bucket.count]
    return torch.cat([prefix.index_select(0, owner), own], dim=2)


def _causal(length: int, n_prefix: int, like: Tensor) -> Tensor:
    """[length, P + length] additive mask: a token sees the prefix, the earlier suffix tokens and itself."""
    mask = torch.full((length, n_prefix + length), float("-inf"), dtype=like.dtype, device=like.device)
    return mask.triu_(n_prefix + 1)


def _merge(attended: Tensor) -> Tensor:
    """[count, heads, length, d] -> [count·length, W]."""
    return attended.transpose(1, 2).reshape(attended.shape[0] * attended.shape[2], -1)


def _end_rows(rows: _Rows) -> Tensor:
    """[S] rows of the end tokens, in packed order."""
    found, row = [], rows.prefix_rows
    for bucket in rows.buckets:
        found.append(torch.arange(row + bucket.length - 1, row + bucket.rows, bucket.length))
        row += bucket.rows
    return torch.cat(found).to(rows.states.device)


def _replace_shared(rows: _Rows, fresh: Tensor) -> _Rows:
    """Put [G, M, W] in positions 1..M of each group."""
    count = fresh.shape[1]
    if rows.n_prefix < count + 1:
        # The contexts already belong to single sequences (after `_replace_own`).
        total = sum(bucket.count for bucket in rows.buckets)
        return _replace_own(rows, fresh.expand(total, -1, -1) if rows.owner is None else fresh[rows.owner])
    width = fresh.shape[2]
    prefix = rows.states[: rows.prefix_rows].view(rows.groups, rows.n_prefix, width)
    prefix = torch.cat([prefix[:, :1], fresh, prefix[:, count + 1 :]], dim=1)
    return _with_states(rows, torch.cat([prefix.reshape(-1, width), rows.states[rows.prefix_rows :]]))


def _replace_own(rows: _Rows, fresh: Tensor) -> _Rows:
    """Put [S, M, W] in positions 1..M of each sequence.

    From here on the prefix is the start token alone, and every later position belongs to its sequence.
    """
    count, width = fresh.shape[1:]
    prefix = rows.states[: rows.prefix_rows].view(rows.groups, rows.n_prefix, width)
    rest = prefix[:, count + 1 :] if rows.n_prefix > 1 else None
    parts, buckets, row = [prefix[:, 0]], [], rows.prefix_rows
    for bucket in rows.buckets:
        own = rows.states[row : row + bucket.rows].view(bucket.count, bucket.length, width)
        taken = slice(bucket.first, bucket.first + bucket.count)
        if rest is None:
            pieces = [fresh[taken], own[:, count:]]
        else:
            shared = rest.expand(bucket.count, -1, -1) if rows.owner is None else rest[rows.owner[taken]]
            pieces = [fresh[taken], shared, own]
        joined = torch.cat(pieces, dim=1)
        parts.append(joined.view(-1, width))
        buckets.append(Bucket(bucket.first, bucket.count, joined.shape[1]))
        row += bucket.rows
    return _Rows(torch.cat(parts), rows.groups, 1, tuple(buckets), rows.owner)


def _with_states(rows: _Rows, states: Tensor) -> _Rows:
    return _Rows(states, rows.groups, rows.n_prefix, rows.buckets, rows.owner)


def _deep_by_group(deep: Tensor, groups: int) -> Tensor:
    """[J, M, W] or [J, G, M, W] -> [J, G, M, W]."""
    return deep if deep.dim() == 4 else deep[:, None].expand(-1, groups, -1, -1)


def _check(
    tower: TextTower,
    layout: PromptLayout,
    prefix: Tensor,
    suffix: Tensor,
    deep: Tensor | None,
    replace: Mapping[int, Tensor],
) -> None:
    """Refuse shapes that would broadcast into wrong results or fail far from here."""
    groups, width, room = prefix.shape[0], tower.width, layout.n_prefix - 1
    if prefix.shape != (groups, layout.n_prefix, width) or layout.n_sequences % groups:
        fits = f"[G, {layout.n_prefix}, {width}] with G dividing {layout.n_sequences}"
        raise ValueError(f"prefix {tuple(prefix.shape)} is not {fits}")
    if suffix.shape != (layout.n_tokens, width):
        raise ValueError(f"suffix {tuple(suffix.shape)} is not [{layout.n_tokens}, {width}]")
    if deep is not None and (
        deep.shape[1] != groups or deep.shape[2] > room or deep.shape[0] >= tower.layers
    ):
        fits = f"{tower.layers} blocks, {groups} groups and {room} contexts"
        raise ValueError(f"deep prompts {tuple(deep.shape)} do not fit {fits}")
    for block, each in replace.items():
        if not 1 <= block < tower.layers or each.shape[0] != layout.n_sequences or each.shape[1] > room:
            fits = f"{layout.n_sequences} prompts of {room} contexts"
            raise ValueError(f"states {tuple(each.shape)} for block {block} do not fit {fits}")

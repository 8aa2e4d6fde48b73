"""The fast text tower for prompts that share tokens: the plain tower's features and gradients, sooner.

Exact reductions, all consequences of causal attention: positions after the end token are never computed; the start
token and a shared context are computed once for all prompts, with gradients through them, and so is every token
that follows the same tokens in several prompts; rows are packed, so linears, norms and the MLP see real tokens only;
in the last block only the end tokens are carried on. `plain_forward` is what the results must equal.

What is shared, by method: a context in front of the class name is shared by all classes (CoOp, KgCoOp, ProGrad, TCP
below its injection block), also with deep text prompts, which do not depend on the class (MaPLe, IVLP, PromptSRC),
and an image's context by all classes of that image (CoCoOp). Class-specific contexts, the positions middle and
front, and TCP from its injection block on share the start token alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from atlas_core.backbone.precision import GradientScale
from atlas_core.backbone.text_blocks import run_blocks
from atlas_core.backbone.text_layout import Chunk, PromptLayout, build_layout
from atlas_core.backbone.text_rows import Rows
from atlas_core.backbone.text_tower import (
    TextTower,
    as_asked,
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


def encode_prompts(
    tower: TextTower,
    layout: PromptLayout,
    prefix: Tensor,
    suffix: Tensor,
    deep_prompts: Tensor | None = None,
    replace: Mapping[int, Tensor] | None = None,
    chunks: int | None = None,
) -> Tensor:
    """Raw text features of prompts, with gradients (of first order) to every argument that asks for them.

    Args:
        prefix: [G, P, W] (or [P, W], G = 1) start token and contexts, without positions. Group g is shared by
            the S/G consecutive prompts from g·S/G on: G = 1 one context for all, G = B images over
            `layout.repeat(B)`, G = S class-specific contexts.
        suffix: [T, W] word embeddings, without positions, of the layout's packed tokens.
        deep_prompts: [J, M, W] or [J, G, M, W]; item j-1 replaces positions 1..M at the input of block j.
        replace: {block: [S, M, W]} states of each prompt for positions 1..M at that block's input.
        chunks: Prompts a chunk (None: all at once). Chunks are computed one after another, and again in
            the backward pass, so that memory does not grow with the number of classes.

    Returns:
        [S, D] features in the order of the prompts, in the tower's dtype, float32 at least.

    Raises:
        ValueError: Shapes that do not fit the layout.
    """
    tower, replace, scale = as_asked(tower), replace or {}, GradientScale()

    def taken(x: Tensor) -> Tensor:
        return (scale.enter(x) if tower.blocks[0].dtype == torch.float16 else x).to(tower.dtype)

    prefix = taken(prefix[None] if prefix.dim() == 2 else prefix)
    groups = prefix.shape[0]
    deep = None if deep_prompts is None else taken(_deep_by_group(deep_prompts, groups))
    _check(tower, layout, prefix, suffix, deep, replace)
    suffix = taken(suffix) + tower.positional[layout.positions]
    prefix = prefix + tower.positional[: layout.n_prefix]
    own = {block: taken(each) for block, each in replace.items()}
    # What autocast asked for is settled; inside, types are what the tower says.
    with torch.autocast(tower.device.type, enabled=False):
        features = _encode_all(tower, layout, prefix, suffix, deep, own, chunks)
    return scale.leave(features) if tower.blocks[0].dtype == torch.float16 else features


def _encode_all(
    tower: TextTower,
    layout: PromptLayout,
    prefix: Tensor,
    suffix: Tensor,
    deep: Tensor | None,
    own: Mapping[int, Tensor],
    chunks: int | None,
) -> Tensor:
    """Features of all prompts, chunk by chunk."""
    parts, place = layout.chunks(prefix.shape[0], chunks)
    if place is None:
        return _encode(tower, parts[0], prefix, suffix, deep, own)
    order = place.argsort()
    features, first = [], 0
    for part in parts:
        prompts = order[first : first + part.rows.n_prompts]
        first += part.rows.n_prompts
        arguments = (tower, part, prefix, suffix, deep, {block: each[prompts] for block, each in own.items()})
        features.append(
            checkpoint(_encode, *arguments, use_reentrant=False, preserve_rng_state=False)
            if torch.is_grad_enabled()
            else _encode(*arguments)
        )
    return torch.cat(features)[place]


def _encode(
    tower: TextTower,
    chunk: Chunk,
    prefix: Tensor,
    suffix: Tensor,
    deep: Tensor | None,
    own: Mapping[int, Tensor],
) -> Tensor:
    """Features of a chunk's prompts."""
    if chunk.groups is not None:
        prefix, deep = prefix[chunk.groups], None if deep is None else deep[:, chunk.groups]
    if chunk.suffixes is not None:
        suffix = suffix[chunk.suffixes]
    rows = chunk.rows.with_masks(tower.blocks[0].dtype)
    n_groups, n_prefix, width = prefix.shape
    states = torch.cat([prefix.reshape(-1, width), suffix])
    if rows.take is not None:
        states = states[rows.take]
    only_prefix = n_groups == 1 and not suffix.requires_grad
    begin, needed, last = 0, n_prefix if only_prefix else None, tower.layers - 1
    for block in range(1, tower.layers):
        fresh = deep[block - 1] if deep is not None and block <= deep.shape[0] else None
        if fresh is None and block not in own:
            continue
        states = run_blocks(tower.text_blocks[begin:block], states, rows, False, needed)
        if fresh is not None:
            states = _replace_shared(states, rows, fresh)
        if block in own:
            fresh = own[block]
            rows = rows.own_contexts(fresh.shape[1])
            states = torch.cat([states, fresh.reshape(-1, width)])
            states = states if rows.take is None else states[rows.take]
        begin, needed = block, None
    ends = run_blocks(tower.text_blocks[begin : last + 1], states, rows, True, needed)
    features = project(tower, ends)
    return features if rows.end_of is None else features[rows.end_of]


def _replace_shared(states: Tensor, rows: Rows, fresh: Tensor) -> Tensor:
    """Put [G, M, W] in positions 1..M of each group's rows."""
    count, width = fresh.shape[1:]
    places, sources = rows.contexts(count)
    return states.index_copy(0, places, fresh.reshape(-1, width)[sources])


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

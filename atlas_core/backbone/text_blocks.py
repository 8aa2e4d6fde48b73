"""Frozen blocks over arranged rows, with the backward pass written out.

Weights take no gradient, so a block keeps its two norms' inputs, queries/keys/values, attention weights and hidden
layer, and nothing else; autograd's bookkeeping for some thirty operations a block, and its copies, are saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from atlas_core.backbone.blocks import Activation, Block, Norm, activate
from atlas_core.backbone.text_rows import Rows, Tile

_QUICK_GELU = 1.702
_aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class TextBlock:
    """A block, and its weights laid out for the forward product: [in, out], contiguous on a CPU."""

    block: Block
    qkv: Tensor
    out: Tensor
    fc: Tensor
    proj: Tensor


def for_text(block: Block) -> TextBlock:
    """The block with transposed weights.

    With few rows a CPU's product with a contiguous [in, out] matrix is 5 to 25 % faster than with a transposed
    [out, in] one; the backward pass uses the block's own [out, in] matrices the same way.
    """
    weights = (block.qkv_weight, block.out_weight, block.fc_weight, block.proj_weight)
    return TextBlock(
        block, *(each.t().contiguous() if each.device.type == "cpu" else each.t() for each in weights)
    )


def run_blocks(
    blocks: Sequence[TextBlock], states: Tensor, rows: Rows, ends_only: bool, needed: int | None = None
) -> Tensor:
    """Rows [N, W] through consecutive blocks -> [N, W], or the end rows [E, W] of the last one.

    Args:
        ends_only: Carry only the end rows through the last of these blocks.
        needed: How many first rows of `states` need a gradient; None for all. The others get zeros.
    """
    if torch.is_grad_enabled() and states.requires_grad:
        result: Tensor = _Run.apply(states, blocks, rows, ends_only, needed)
        return result
    for index, each in enumerate(blocks):
        whole = not (ends_only and index == len(blocks) - 1)
        states = (_forward if whole else _forward_ends)(each, states, rows, _Forget())
    return states


class _Keep(Protocol):
    def __call__(self, *tensors: Tensor) -> None: ...


class _Forget:
    def __call__(self, *tensors: Tensor) -> None:
        pass


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, blocks: Sequence[TextBlock], rows: Rows, ends_only: bool, needed: int | None
    ) -> Tensor:
        kept: list[Tensor] = []

        def keep(*tensors: Tensor) -> None:
            kept.extend(tensors)

        for index, each in enumerate(blocks):
            whole = not (ends_only and index == len(blocks) - 1)
            states = (_forward if whole else _forward_ends)(each, states, rows, keep)
        ctx.save_for_backward(*kept)
        ctx.run = (blocks, rows, ends_only, needed)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        blocks, rows, ends_only, needed = ctx.run
        kept = ctx.saved_tensors
        each_keeps = len(kept) // len(blocks)
        for index in reversed(range(len(blocks))):
            own = kept[index * each_keeps : (index + 1) * each_keeps]
            if ends_only and index == len(blocks) - 1:
                gradient = _backward_ends(blocks[index], gradient, rows, own)
            else:
                gradient = _backward(blocks[index], gradient, rows, own, None if index else needed)
        return gradient, None, None, None, None


def _forward(text_block: TextBlock, x: Tensor, rows: Rows, keep: _Keep) -> Tensor:
    """One block over all rows."""
    block = text_block.block
    normed, *norm_1 = _norm(x, block.norm_1, block.dtype)
    qkv = torch.addmm(block.qkv_bias, normed, text_block.qkv)
    heads = qkv.view(x.shape[0], 3, block.heads, -1)
    attended, weights = torch.empty_like(normed), []
    for tile in rows.tiles:
        own = slice(tile.first, tile.stop)
        key, value = _keys_and_values(heads[:, 1:], tile)
        weight = _weights(_by_head(heads[own, 0]), key, tile.mask)
        _by_head(attended[own].view(-1, *heads.shape[2:])).copy_(torch.bmm(weight, value))
        weights.append(weight)
    middle = _residual(x, attended, text_block.out, block.out_bias, block.scale_1)
    result, norm_2, hidden = _mlp(text_block, middle)
    keep(x, *norm_1, qkv, middle, *norm_2, hidden, *weights)
    return result


def _forward_ends(text_block: TextBlock, x: Tensor, rows: Rows, keep: _Keep) -> Tensor:
    """One block of which only the end rows are carried on."""
    block, width = text_block.block, x.shape[1]
    normed, *norm_1 = _norm(x, block.norm_1, block.dtype)
    query = torch.addmm(block.qkv_bias[:width], normed[rows.ends], text_block.qkv[:, :width])
    kv = torch.addmm(block.qkv_bias[width:], normed, text_block.qkv[:, width:])
    heads, queries = kv.view(x.shape[0], 2, block.heads, -1), query.view(query.shape[0], block.heads, -1)
    attended, weights = torch.empty_like(query), []
    for tile in rows.tiles:
        ends = slice(*tile.ends)
        key, value = _keys_and_values(heads, tile)
        weight = _weights(_by_head(queries[ends]), key, tile.end_mask)
        _by_head(attended[ends].view(-1, *heads.shape[2:])).copy_(torch.bmm(weight, value))
        weights.append(weight)
    middle = _residual(x[rows.ends], attended, text_block.out, block.out_bias, block.scale_1)
    result, norm_2, hidden = _mlp(text_block, middle)
    keep(x, *norm_1, torch.cat([query.flatten(), kv.flatten()]), middle, *norm_2, hidden, *weights)
    return result


def _backward(
    text_block: TextBlock, gradient: Tensor, rows: Rows, kept: Sequence[Tensor], needed: int | None
) -> Tensor:
    block = text_block.block
    x, mean_1, rstd_1, qkv, middle, mean_2, rstd_2, hidden, *weights = kept
    gradient = _mlp_backward(block, gradient, middle, mean_2, rstd_2, hidden)
    d_attended = _scaled(gradient, block.scale_1).to(block.dtype) @ block.out_weight
    heads = qkv.view(x.shape[0], 3, block.heads, -1)
    d_qkv = torch.empty_like(qkv)
    d_heads = d_qkv.view_as(heads)
    for tile, weight in zip(rows.tiles, weights, strict=True):
        own = slice(tile.first, tile.stop)
        d_out = _by_head(d_attended[own].view(-1, *heads.shape[2:]))
        query = _by_head(heads[own, 0])
        d_query = _attention_backward(d_out, query, heads[:, 1:], d_heads[:, 1:], tile, weight)
        _by_head(d_heads[own, 0]).copy_(d_query)
    if needed is None:
        d_normed = d_qkv @ block.qkv_weight
        return gradient.add_(_norm_backward(d_normed, x, block.norm_1, mean_1, rstd_1))
    d_normed = d_qkv[:needed] @ block.qkv_weight
    gradient[:needed].add_(
        _norm_backward(d_normed, x[:needed], block.norm_1, mean_1[:needed], rstd_1[:needed])
    )
    gradient[needed:].zero_()
    return gradient


def _backward_ends(text_block: TextBlock, gradient: Tensor, rows: Rows, kept: Sequence[Tensor]) -> Tensor:
    block = text_block.block
    x, mean_1, rstd_1, projected, middle, mean_2, rstd_2, hidden, *weights = kept
    count, width = x.shape
    gradient = _mlp_backward(block, gradient, middle, mean_2, rstd_2, hidden)
    d_attended = _scaled(gradient, block.scale_1).to(block.dtype) @ block.out_weight
    n_ends = gradient.shape[0]
    query = projected[: n_ends * width].view(n_ends, block.heads, -1)
    heads = projected[n_ends * width :].view(count, 2, block.heads, -1)
    d_query, d_kv = torch.empty_like(query), torch.empty_like(heads)
    for tile, weight in zip(rows.tiles, weights, strict=True):
        ends = slice(*tile.ends)
        d_out = _by_head(d_attended[ends].view(-1, *heads.shape[2:]))
        found = _attention_backward(d_out, _by_head(query[ends]), heads, d_kv, tile, weight)
        _by_head(d_query[ends]).copy_(found)
    d_normed = d_kv.view(count, -1) @ block.qkv_weight[width:]
    d_normed.index_add_(0, rows.ends, d_query.view(n_ends, width) @ block.qkv_weight[:width])
    d_x = _norm_backward(d_normed, x, block.norm_1, mean_1, rstd_1)
    return d_x.index_add_(0, rows.ends, gradient)


def _keys_and_values(heads: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
    """Keys and values of a tile, borrowed ones first: [N, 2, heads, d] -> two [heads, borrowed + rows, d]."""
    own = heads[tile.first : tile.stop]
    if tile.n_borrowed:
        own = torch.cat([heads[slice(*tile.borrowed)], own])
    return _by_head(own[:, 0]), _by_head(own[:, 1])


def _weights(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """Attention weights [heads, rows, columns]."""
    scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=query.shape[-1] ** -0.5)
    return torch.softmax(scores, dim=-1)


def _attention_backward(
    d_out: Tensor, query: Tensor, heads: Tensor, d_heads: Tensor, tile: Tile, weight: Tensor
) -> Tensor:
    """The gradient of a tile's queries; those of its keys and values go into `d_heads` [N, 2, heads, d].

    A tile's own keys and values are used first by itself, so its part is set; borrowed ones are added to.
    """
    key, value = _keys_and_values(heads, tile)
    d_weight = torch.bmm(d_out, value.transpose(1, 2))
    d_scores = _aten._softmax_backward_data(d_weight, weight, -1, weight.dtype)
    d_scores.mul_(query.shape[-1] ** -0.5)
    borrowed = tile.n_borrowed
    for part, found in (
        (0, torch.bmm(d_scores.transpose(1, 2), query)),
        (1, torch.bmm(weight.transpose(1, 2), d_out)),
    ):
        _by_head(d_heads[tile.first : tile.stop, part]).copy_(found[:, borrowed:])
        if borrowed:
            _by_head(d_heads[slice(*tile.borrowed), part]).add_(found[:, :borrowed])
    return torch.bmm(d_scores, key)


def _by_head(rows: Tensor) -> Tensor:
    """[n, heads, d] -> [heads, n, d], a view."""
    return rows.transpose(0, 1)


def _residual(x: Tensor, inner: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None) -> Tensor:
    branch = torch.addmm(bias, inner, weight)
    if scale is not None:
        return x + branch * scale
    return branch.add_(x) if branch.dtype == x.dtype else x + branch


def _mlp(text_block: TextBlock, middle: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """x + mlp(norm_2(x)), with the norm's statistics and the hidden layer before its activation."""
    block = text_block.block
    normed, *statistics = _norm(middle, block.norm_2, block.dtype)
    hidden = torch.addmm(block.fc_bias, normed, text_block.fc)
    active = activate(hidden, block.activation)
    return _residual(middle, active, text_block.proj, block.proj_bias, block.scale_2), statistics, hidden


def _mlp_backward(
    block: Block, gradient: Tensor, middle: Tensor, mean: Tensor, rstd: Tensor, hidden: Tensor
) -> Tensor:
    """The gradient before the MLP, in a tensor of its own."""
    d_branch = _scaled(gradient, block.scale_2).to(block.dtype)
    d_hidden = _activation_backward(d_branch @ block.proj_weight, hidden, block.activation)
    d_normed = d_hidden @ block.fc_weight
    return _norm_backward(d_normed, middle, block.norm_2, mean, rstd).add_(gradient)


def _activation_backward(gradient: Tensor, hidden: Tensor, activation: Activation) -> Tensor:
    """The gradient before the activation; `gradient` may be overwritten."""
    if activation == "silu":
        return _aten.silu_backward.grad_input(gradient, hidden, grad_input=gradient)  # type: ignore[no-any-return]
    if activation == "quick_gelu":
        gate = torch.sigmoid(_QUICK_GELU * hidden)
        return gradient * gate * (1 + _QUICK_GELU * hidden * (1 - gate))
    approximate = "tanh" if activation == "gelu_tanh" else "none"
    return _aten.gelu_backward.grad_input(  # type: ignore[no-any-return]
        gradient, hidden, approximate=approximate, grad_input=gradient
    )


def _norm(x: Tensor, norm: Norm, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The normed rows in `dtype`, with each one's mean and reciprocal deviation; half goes through float32."""
    wide = x.to(norm.weight.dtype)
    normed, mean, rstd = torch.native_layer_norm(wide, norm.weight.shape, norm.weight, norm.bias, norm.eps)
    return normed.to(dtype), mean, rstd


def _norm_backward(gradient: Tensor, x: Tensor, norm: Norm, mean: Tensor, rstd: Tensor) -> Tensor:
    kept = norm.weight.dtype
    found: Tensor = _aten.native_layer_norm_backward(
        gradient.to(kept),
        x.to(kept),
        norm.weight.shape,
        mean,
        rstd,
        norm.weight,
        norm.bias,
        [True, False, False],
    )[0]
    return found.to(x.dtype)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale

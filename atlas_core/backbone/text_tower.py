"""The frozen weights of CLIP's text transformer, and the plain way through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas_core.backbone.blocks import (
    Block,
    Norm,
    activate,
    extract_block,
    extract_norm,
    frozen,
    in_dtype,
    layer_norm,
)
from atlas_core.backbone.precision import asked_dtype, wide
from atlas_core.backbone.text_blocks import TextBlock, for_text
from atlas_core.backbone.tower_kinds import TEXT_TOWER, unsupported


@dataclass(frozen=True, eq=False)
class TextTower:
    """A causal text transformer as plain tensors.

    Attributes:
        token_embedding: [V, W].
        positional: [context_length, W].
        text_blocks: The same blocks with their weights laid out for the fast tower as well.
        projection: [W, D], or None where the features stay W wide.
        projection_bias: [D] or None.
        eos_id: The end token's id, or None where the end token is the largest id of a sequence (CLIP).
        rounded: What `as_asked` made before.
    """

    width: int
    layers: int
    heads: int
    context_length: int
    token_embedding: Tensor
    positional: Tensor
    blocks: tuple[Block, ...]
    text_blocks: tuple[TextBlock, ...]
    norm_final: Norm
    projection: Tensor | None
    projection_bias: Tensor | None
    eos_id: int | None
    rounded: dict[torch.dtype, TextTower] = field(default_factory=dict, init=False, repr=False)

    @property
    def dtype(self) -> torch.dtype:
        """The type of everything but the blocks' matrix products."""
        return self.positional.dtype

    @property
    def device(self) -> torch.device:
        return self.positional.device


def as_asked(tower: TextTower) -> TextTower:
    """The tower with its blocks in the half precision that `towers_in` or autocast asks for, else itself."""
    dtype = asked_dtype(tower.device)
    if dtype is None or tower.blocks[0].dtype == dtype:
        return tower
    if dtype not in tower.rounded:
        blocks = tuple(in_dtype(each, dtype) for each in tower.blocks)
        text_blocks = tuple(for_text(each) for each in blocks)
        tower.rounded[dtype] = replace(tower, blocks=blocks, text_blocks=text_blocks)
    return tower.rounded[dtype]


def extract_text_tower(model: Any, dtype: torch.dtype, device: torch.device) -> TextTower:
    """The text tower of an open_clip model.

    Raises:
        AtlasError: It is not a causal transformer that reads its feature off the end token.
    """
    # Not at the top: open_clip takes seconds to import, and planning a study needs no model.
    from open_clip.transformer import Transformer

    text, pool_type, eos_id = _text_module(model)
    if type(text.transformer) is not Transformer:
        raise unsupported(TEXT_TOWER, f"a transformer of type {type(text.transformer).__name__}")
    if text.attn_mask is None or getattr(text, "cls_emb", None) is not None:
        raise unsupported(TEXT_TOWER, "no causal mask, or an appended class token")
    if pool_type not in ("argmax", "eos"):
        raise unsupported(TEXT_TOWER, f"the pooling {pool_type!r} (its features are not the end token's)")
    projection, bias = _projection(text.text_projection)
    blocks = tuple(extract_block(each, dtype, device, TEXT_TOWER) for each in text.transformer.resblocks)
    return TextTower(
        width=text.positional_embedding.shape[1],
        layers=len(blocks),
        heads=blocks[0].heads,
        context_length=text.positional_embedding.shape[0],
        token_embedding=frozen(text.token_embedding.weight, dtype, device),
        positional=frozen(text.positional_embedding, dtype, device),
        blocks=blocks,
        text_blocks=tuple(for_text(each) for each in blocks),
        norm_final=extract_norm(text.ln_final, dtype, device, TEXT_TOWER),
        projection=None if projection is None else frozen(projection, dtype, device),
        projection_bias=None if bias is None else frozen(bias, dtype, device),
        eos_id=eos_id if pool_type == "eos" else None,
    )


def end_positions(tower: TextTower, token_ids: Tensor) -> Tensor:
    """Position of each sequence's end token: [C, L] ids -> [C]."""
    if tower.eos_id is None:
        return token_ids.argmax(dim=-1)
    return (token_ids == tower.eos_id).int().argmax(dim=-1)


def embed_tokens(tower: TextTower, token_ids: Tensor) -> Tensor:
    """Word embeddings without positions: ids [...] -> [..., W], float32 at least, as the contexts beside them."""
    return wide(F.embedding(token_ids.to(tower.device), tower.token_embedding))


def project(tower: TextTower, states: Tensor) -> Tensor:
    """Raw text features from the end tokens' last states: [S, W] -> [S, D], float32 at least."""
    x = layer_norm(states, tower.norm_final)
    if tower.projection is not None:
        x = x @ tower.projection
    return wide(x if tower.projection_bias is None else x + tower.projection_bias)


def plain_forward(
    tower: TextTower,
    embedded: Tensor,
    eot: Tensor,
    deep_prompts: Sequence[Tensor] | Tensor | None = None,
    replace: Mapping[int, Tensor] | None = None,
) -> Tensor:
    """The textbook tower over all positions of every prompt: what `encode_prompts` must agree with.

    Args:
        embedded: [C, L, W] word embeddings and contexts, without positions (L up to the context length).
        eot: [C] end-token positions.
        deep_prompts: Item j-1, [M, W], replaces positions 1..M at the input of block j.
        replace: {block: [C, M, W]} class-specific states for positions 1..M at that block's input.

    Returns:
        [C, D] raw text features.
    """
    count, length, width = embedded.shape
    x = embedded.to(tower.dtype) + tower.positional[:length]
    mask = torch.full((length, length), float("-inf"), dtype=x.dtype, device=x.device).triu(1)
    for index, block in enumerate(tower.blocks):
        if deep_prompts is not None and 1 <= index <= len(deep_prompts):
            fresh = deep_prompts[index - 1].to(x.dtype).expand(count, -1, -1)
            x = torch.cat([x[:, :1], fresh, x[:, 1 + fresh.shape[1] :]], dim=1)
        if replace and index in replace:
            fresh = replace[index].to(x.dtype)
            x = torch.cat([x[:, :1], fresh, x[:, 1 + fresh.shape[1] :]], dim=1)
        normed = layer_norm(x, block.norm_1)
        joint = normed @ block.qkv_weight.T + block.qkv_bias
        q, k, v = joint.view(count, length, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask, dim=-1)
        attended = (weights @ v).transpose(1, 2).reshape(count, length, width)
        out = attended @ block.out_weight.T + block.out_bias
        x = x + (out if block.scale_1 is None else out * block.scale_1)
        hidden = layer_norm(x, block.norm_2) @ block.fc_weight.T + block.fc_bias
        out = activate(hidden, block.activation) @ block.proj_weight.T + block.proj_bias
        x = x + (out if block.scale_2 is None else out * block.scale_2)
    rows = torch.arange(count, device=x.device)
    return project(tower, x[rows, eot.to(x.device)])


def _text_module(model: Any) -> tuple[Any, str, int]:
    """The module that holds the text weights, how it pools, and its end-token id."""
    from open_clip import CLIP, CustomTextCLIP
    from open_clip.transformer import TextTransformer

    if type(model) is CLIP:
        return model, model.text_pool_type, model.text_eos_id
    if type(model) is CustomTextCLIP and type(model.text) is TextTransformer:
        return model.text, model.text.pool_type, model.text.eos_id
    inner = getattr(model, "text", model)
    raise unsupported(TEXT_TOWER, f"the type {type(inner).__name__}")


def _projection(projection: Tensor | nn.Module | None) -> tuple[Tensor | None, Tensor | None]:
    if projection is None or isinstance(projection, Tensor):
        return projection, None
    if isinstance(projection, nn.Linear):
        return projection.weight.T, projection.bias
    raise unsupported(TEXT_TOWER, f"a projection of type {type(projection).__name__}")

"""The image tower as a function of pixels and visual prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recompute

from atlas_core.backbone.blocks import (
    Block,
    Norm,
    add_attention,
    add_mlp,
    extract_block,
    extract_norm,
    frozen,
    in_dtype,
    layer_norm,
    qkv,
)
from atlas_core.backbone.precision import GradientScale, asked_dtype, wide
from atlas_core.backbone.tower_kinds import IMAGE_TOWER, unsupported

_BlockFunction = Callable[[Block, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ImageTower:
    """A vision transformer with class-token pooling, as plain tensors.

    Attributes:
        patch_weight: [W, 3, p, p] of the patch convolution (stride p, no bias).
        class_embedding: [W].
        positional: [1 + patches, W].
        norm_pre: None where the model has none.
        projection: [W, D], or None where the features stay W wide.
        compiled: Whether the blocks run through `torch.compile`.
        rounded: What `as_asked` made before.
    """

    width: int
    layers: int
    heads: int
    image_size: int
    patch_weight: Tensor
    class_embedding: Tensor
    positional: Tensor
    norm_pre: Norm | None
    blocks: tuple[Block, ...]
    norm_post: Norm
    projection: Tensor | None
    compiled: bool = False
    rounded: dict[torch.dtype, ImageTower] = field(default_factory=dict, init=False, repr=False)

    @property
    def dtype(self) -> torch.dtype:
        """The type of everything but the patch convolution and the blocks' matrix products."""
        return self.positional.dtype

    @property
    def device(self) -> torch.device:
        return self.positional.device


def as_asked(tower: ImageTower) -> ImageTower:
    """The tower with its blocks in the half precision that `towers_in` or autocast asks for, else itself."""
    dtype = asked_dtype(tower.device)
    if dtype is None or tower.blocks[0].dtype == dtype:
        return tower
    if dtype not in tower.rounded:
        blocks = tuple(in_dtype(each, dtype) for each in tower.blocks)
        tower.rounded[dtype] = replace(tower, patch_weight=tower.patch_weight.to(dtype), blocks=blocks)
    return tower.rounded[dtype]


def extract_image_tower(visual: Any, dtype: torch.dtype, device: torch.device) -> ImageTower:
    """The tower of open_clip's `VisionTransformer`.

    Raises:
        AtlasError: The image tower is of another kind (ResNet, timm, other pooling or blocks).
    """
    # Not at the top: open_clip takes seconds to import, and planning a study needs no model.
    from open_clip.transformer import Transformer, VisionTransformer

    if type(visual) is not VisionTransformer or type(visual.transformer) is not Transformer:
        raise unsupported(IMAGE_TOWER, f"the type {type(visual).__name__}")
    if visual.attn_pool is not None or visual.pool_type != "tok":
        raise unsupported(IMAGE_TOWER, "a pooling other than the class token")
    if visual.image_size[0] != visual.image_size[1]:
        raise unsupported(IMAGE_TOWER, f"images of {visual.image_size[0]} × {visual.image_size[1]} pixels")
    no_norm = isinstance(visual.ln_pre, nn.Identity)
    blocks = tuple(extract_block(each, dtype, device, IMAGE_TOWER) for each in visual.transformer.resblocks)
    return ImageTower(
        width=visual.positional_embedding.shape[1],
        layers=len(blocks),
        heads=blocks[0].heads,
        image_size=visual.image_size[0],
        patch_weight=frozen(visual.conv1.weight, dtype, device),
        class_embedding=frozen(visual.class_embedding, dtype, device),
        positional=frozen(visual.positional_embedding, dtype, device),
        norm_pre=None if no_norm else extract_norm(visual.ln_pre, dtype, device, IMAGE_TOWER),
        blocks=blocks,
        norm_post=extract_norm(visual.ln_post, dtype, device, IMAGE_TOWER),
        projection=None if visual.proj is None else frozen(visual.proj, dtype, device),
    )


def embed_patches(tower: ImageTower, pixels: Tensor) -> Tensor:
    """Class token and patches with positions, before `norm_pre`: [B, 3, H, W] -> [B, 1 + patches, Wv]."""
    tower = as_asked(tower)
    stride, dtype = tower.patch_weight.shape[-1], tower.patch_weight.dtype
    with torch.autocast(tower.device.type, enabled=False):
        patches = F.conv2d(pixels.to(tower.device, dtype), tower.patch_weight, stride=stride)
    rows = patches.flatten(2).transpose(1, 2).to(tower.dtype)
    first = tower.class_embedding.expand(rows.shape[0], 1, -1)
    return torch.cat([first, rows], dim=1) + tower.positional


def forward(
    tower: ImageTower,
    pixels: Tensor,
    prompts: Tensor | None = None,
    deep_prompts: Tensor | None = None,
    checkpoint: bool = False,
) -> Tensor:
    """Raw image features, with gradients to the prompts.

    Args:
        pixels: [B, 3, H, W], normalised.
        prompts: [n, Wv], or [B, n, Wv] one set an image; appended after the patches, without positions.
        deep_prompts: [J, n, Wv] or [J, B, n, Wv]; item i-1 takes the prompts' places at the input of block i.
        checkpoint: Recompute each block in the backward pass instead of keeping its activations.

    Returns:
        [B, D] in the tower's dtype, float32 at least.

    Raises:
        ValueError: Deep prompts without first prompts, of another number, or for more blocks than there are.
    """
    return forward_embedded(tower, embed_patches(tower, pixels), prompts, deep_prompts, checkpoint)


def forward_prompted_and_frozen(
    tower: ImageTower,
    pixels: Tensor,
    prompts: Tensor,
    deep_prompts: Tensor | None = None,
    checkpoint: bool = False,
) -> tuple[Tensor, Tensor]:
    """Features with prompts (gradients) and without (none) of the same pixels, patches embedded once."""
    embedded = embed_patches(tower, pixels)
    prompted = forward_embedded(tower, embedded, prompts, deep_prompts, checkpoint)
    with torch.no_grad():
        return prompted, forward_embedded(tower, embedded)


def forward_embedded(
    tower: ImageTower,
    embedded: Tensor,
    prompts: Tensor | None = None,
    deep_prompts: Tensor | None = None,
    checkpoint: bool = False,
) -> Tensor:
    """As `forward`, from the output of `embed_patches`."""
    count = 0 if prompts is None else prompts.shape[-2]
    depth = 0 if deep_prompts is None else deep_prompts.shape[0]
    if deep_prompts is not None and (count != deep_prompts.shape[-2] or depth >= tower.layers):
        shape = tuple(deep_prompts.shape)
        raise ValueError(f"deep prompts {shape} after {count} prompts in {tower.layers} blocks")
    tower, scale = as_asked(tower), GradientScale()
    if tower.blocks[0].dtype == torch.float16:
        prompts = None if prompts is None else scale.enter(prompts)
        deep_prompts = None if deep_prompts is None else scale.enter(deep_prompts)
    # What autocast asked for is settled; inside, types are what the tower says.
    with torch.autocast(tower.device.type, enabled=False):
        features = _encode(tower, embedded, prompts, deep_prompts, checkpoint)
    return scale.leave(features) if tower.blocks[0].dtype == torch.float16 else features


def _encode(
    tower: ImageTower,
    embedded: Tensor,
    prompts: Tensor | None,
    deep_prompts: Tensor | None,
    checkpoint: bool,
) -> Tensor:
    count = 0 if prompts is None else prompts.shape[-2]
    depth = 0 if deep_prompts is None else deep_prompts.shape[0]
    run = _compiled(_block) if tower.compiled else _block
    last = _compiled(_class_token) if tower.compiled else _class_token
    x = embedded if prompts is None else _append(embedded, prompts)
    if tower.norm_pre is not None:
        x = layer_norm(x, tower.norm_pre)
    for index, block in enumerate(tower.blocks):
        if deep_prompts is not None and 1 <= index <= depth:
            x = _append(x[:, :-count], deep_prompts[index - 1])
        if index == tower.layers - 1:
            x = last(block, x)
        elif checkpoint and torch.is_grad_enabled() and x.requires_grad:
            x = recompute(run, block, x, use_reentrant=False, preserve_rng_state=False)
        else:
            x = run(block, x)
    x = layer_norm(x, tower.norm_post)
    return wide(x if tower.projection is None else x @ tower.projection)


@cache
def _compiled(function: _BlockFunction) -> _BlockFunction:
    """A block's function, compiled once for all blocks: their weights are its inputs."""
    # A step with another number of images or prompts must not compile the tower again.
    compiled: _BlockFunction = torch.compile(function, dynamic=True)
    return compiled


def _append(x: Tensor, prompts: Tensor) -> Tensor:
    return torch.cat([x, prompts.to(x.dtype).expand(x.shape[0], -1, -1)], dim=1)


def _block(block: Block, x: Tensor) -> Tensor:
    batch, length, width = x.shape
    joint = qkv(block, x).view(batch, length, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(joint[0], joint[1], joint[2])
    return add_mlp(block, add_attention(block, x, attended.transpose(1, 2).reshape(batch, length, width)))


def _class_token(block: Block, x: Tensor) -> Tensor:
    """The last block, of which only the class token is carried on: [B, L, W] -> [B, W]."""
    batch, length, width = x.shape
    normed = layer_norm(x, block.norm_1, block.dtype)
    query = F.linear(normed[:, :1], block.qkv_weight[:width], block.qkv_bias[:width])
    joint = F.linear(normed, block.qkv_weight[width:], block.qkv_bias[width:])
    keys, values = joint.view(batch, length, 2, block.heads, -1).permute(2, 0, 3, 1, 4)
    query = query.view(batch, 1, block.heads, -1).transpose(1, 2)
    attended = F.scaled_dot_product_attention(query, keys, values).transpose(1, 2).reshape(batch, width)
    return add_mlp(block, add_attention(block, x[:, 0], attended))

"""Frozen weights of a pre-norm residual attention block, and the functions both towers are built from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas_core.backbone.precision import HALF
from atlas_core.backbone.tower_kinds import unsupported

Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu"]

_QUICK_GELU = 1.702


@dataclass(frozen=True, eq=False)
class Norm:
    """A layer norm: weight [W] and bias [W] (float32 where the tower is half precision)."""

    weight: Tensor
    bias: Tensor
    eps: float


@dataclass(frozen=True, eq=False)
class Block:
    """One block: x + attention(norm_1(x)), then x + mlp(norm_2(x)).

    `qkv_weight` [3W, W], `out_weight` [W, W], `fc_weight` [H, W] and `proj_weight` [W, H] are laid out as
    torch's linears; `scale_1` and `scale_2` [W] are the LayerScale factors or None. With activation "silu"
    the factor 1.702 of QuickGELU is already inside `fc_*` and `proj_weight`. The linears' type is that of the
    products; a block's input may be of a wider one, in which the residual stream then stays.
    """

    heads: int
    norm_1: Norm
    qkv_weight: Tensor
    qkv_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    scale_1: Tensor | None
    norm_2: Norm
    fc_weight: Tensor
    fc_bias: Tensor
    activation: Activation
    proj_weight: Tensor
    proj_bias: Tensor
    scale_2: Tensor | None

    @property
    def dtype(self) -> torch.dtype:
        """The type that the block's matrix products are computed in."""
        return self.qkv_weight.dtype


def in_dtype(block: Block, dtype: torch.dtype) -> Block:
    """The block with its linears rounded to this type; norms and LayerScale factors stay as they are."""
    linears = ("qkv", "out", "fc", "proj")
    names = [f"{linear}_{part}" for linear in linears for part in ("weight", "bias")]
    return replace(block, **{name: getattr(block, name).to(dtype) for name in names})


def frozen(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A copy of a weight that no gradient reaches, contiguous, in this dtype and on this device."""
    return tensor.detach().to(device=device, dtype=dtype, copy=True).contiguous()


def extract_norm(module: Any, dtype: torch.dtype, device: torch.device, where: str) -> Norm:
    """The weights of a `LayerNorm`.

    Raises:
        AtlasError: It is another kind of module, or has no weight or bias.
    """
    if not isinstance(module, nn.LayerNorm) or module.weight is None or module.bias is None:
        raise unsupported(where, f"a {type(module).__name__} where a layer norm is expected")
    kept = torch.float32 if dtype in HALF else dtype
    return Norm(frozen(module.weight, kept, device), frozen(module.bias, kept, device), module.eps)


def extract_block(module: Any, dtype: torch.dtype, device: torch.device, where: str) -> Block:
    """The weights of open_clip's `ResidualAttentionBlock`.

    Args:
        where: What the block belongs to ("the text tower"), for messages.

    Raises:
        AtlasError: The block is of another kind (cross attention, q/k norms, another activation, …).
    """
    # Not at the top: open_clip takes seconds to import, and planning a study needs no model.
    from open_clip.transformer import ResidualAttentionBlock

    if type(module) is not ResidualAttentionBlock:
        raise unsupported(where, f"blocks of type {type(module).__name__}")
    attention, mlp = module.attn, module.mlp
    if attention.in_proj_weight is None or attention.bias_k is not None or attention.in_proj_bias is None:
        raise unsupported(where, "an attention without one joint q/k/v projection")
    activation, folded = _activation(mlp.gelu, dtype, where)

    def take(tensor: Tensor, factor: float = 1.0) -> Tensor:
        return frozen(tensor.detach().to(torch.promote_types(tensor.dtype, dtype)) * factor, dtype, device)

    return Block(
        heads=attention.num_heads,
        norm_1=extract_norm(module.ln_1, dtype, device, where),
        qkv_weight=take(attention.in_proj_weight),
        qkv_bias=take(attention.in_proj_bias),
        out_weight=take(attention.out_proj.weight),
        out_bias=take(attention.out_proj.bias),
        scale_1=_layer_scale(module.ls_1, dtype, device, where),
        norm_2=extract_norm(module.ln_2, dtype, device, where),
        fc_weight=take(mlp.c_fc.weight, folded),
        fc_bias=take(mlp.c_fc.bias, folded),
        activation=activation,
        proj_weight=take(mlp.c_proj.weight, 1.0 / folded),
        proj_bias=take(mlp.c_proj.bias),
        scale_2=_layer_scale(module.ls_2, dtype, device, where),
    )


def layer_norm(x: Tensor, norm: Norm, dtype: torch.dtype | None = None) -> Tensor:
    """Normalise the last dimension, into `dtype` or x's own; half precision goes through float32, as in CLIP."""
    kept = x.to(norm.weight.dtype)
    normed = F.layer_norm(kept, norm.weight.shape, norm.weight, norm.bias, norm.eps)
    return normed.to(dtype or x.dtype)


def qkv(block: Block, x: Tensor) -> Tensor:
    """Queries, keys and values of the normed input side by side: [..., W] -> [..., 3W]."""
    return F.linear(layer_norm(x, block.norm_1, block.dtype), block.qkv_weight, block.qkv_bias)


def add_attention(block: Block, x: Tensor, attended: Tensor) -> Tensor:
    """x + the output projection of what the heads attended to (both [..., W])."""
    return x + _scaled(F.linear(attended, block.out_weight, block.out_bias), block.scale_1)


def add_mlp(block: Block, x: Tensor) -> Tensor:
    """x + mlp(norm_2(x)), shape [..., W]."""
    normed = layer_norm(x, block.norm_2, block.dtype)
    hidden = activate(F.linear(normed, block.fc_weight, block.fc_bias), block.activation)
    return x + _scaled(F.linear(hidden, block.proj_weight, block.proj_bias), block.scale_2)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The block's non-linearity, element by element."""
    if activation == "silu":
        return F.silu(x)
    if activation == "quick_gelu":
        return x * torch.sigmoid(_QUICK_GELU * x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale


def _activation(module: Any, dtype: torch.dtype, where: str) -> tuple[Activation, float]:
    """The activation and the factor to fold into the linears around it."""
    from open_clip.transformer import QuickGELU

    if isinstance(module, QuickGELU):
        # x·σ(1.702x) = silu(1.702x)/1.702. The fused silu is several times faster than three element-wise
        # passes and their backward; in half precision the folded weights would lose exactness, so not there.
        return ("quick_gelu", 1.0) if dtype in HALF else ("silu", _QUICK_GELU)
    if isinstance(module, nn.GELU):
        return ("gelu_tanh" if module.approximate == "tanh" else "gelu"), 1.0
    raise unsupported(where, f"the activation {type(module).__name__}")


def _layer_scale(module: Any, dtype: torch.dtype, device: torch.device, where: str) -> Tensor | None:
    if isinstance(module, nn.Identity):
        return None
    from open_clip.transformer import LayerScale

    if isinstance(module, LayerScale):
        return frozen(module.gamma, dtype, device)
    raise unsupported(where, f"a {type(module).__name__} where LayerScale is expected")

"""A small random CLIP whose widths all differ, for tests that need a backbone but not a good one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from open_clip import CLIP, CustomTextCLIP, SimpleTokenizer
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip, freeze

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def small_config(
    *,
    text_width: int = 32,
    text_layers: int = 4,
    text_heads: int = 4,
    vision_width: int = 48,
    vision_layers: int = 3,
    head_width: int = 16,
    embed_dim: int = 24,
    image_size: int = 32,
    patch_size: int = 8,
    quick_gelu: bool = True,
    text: Mapping[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An open_clip model config (the content of its JSON); `text` and `vision` add to the towers' own."""
    return {
        "embed_dim": embed_dim,
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": image_size,
            "layers": vision_layers,
            "width": vision_width,
            "head_width": head_width,
            "patch_size": patch_size,
            **(vision or {}),
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": text_width,
            "heads": text_heads,
            "layers": text_layers,
            **(text or {}),
        },
    }


def small_open_clip(seed: int = 0, *, custom_text: bool = False, **sizes: Any) -> nn.Module:
    """The open_clip model of `small_config(**sizes)` with random weights, all of a size that matters."""
    model: nn.Module = (CustomTextCLIP if custom_text else CLIP)(**small_config(**sizes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "logit_scale":
                continue
            drawn = torch.randn(parameter.shape, generator=generator)
            if "ln_" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * drawn)
            elif "gamma" in name:
                parameter.copy_(0.5 + 0.2 * drawn)
            elif parameter.dim() < 2:
                parameter.copy_(0.2 * drawn)
            elif "token_embedding" in name or "positional" in name:
                parameter.copy_(0.5 * drawn)
            else:
                parameter.copy_(drawn * parameter[0].numel() ** -0.5)
    return model.eval().requires_grad_(False)


def random_openai_state_dict(seed: int = 0, **sizes: Any) -> dict[str, Tensor]:
    """A state dict as OpenAI published them: half-precision linears and three entries that are no weights."""
    state = dict(small_open_clip(seed, **sizes).state_dict())
    halves = ("in_proj", "out_proj", "c_fc", "c_proj", "conv1.weight", "text_projection", "visual.proj")
    state = {key: value.half() if any(h in key for h in halves) else value for key, value in state.items()}
    extra = {
        "input_resolution": sizes.get("image_size", 32),
        "context_length": state["positional_embedding"].shape[0],
        "vocab_size": state["token_embedding.weight"].shape[0],
    }
    return {**state, **{key: torch.tensor(value) for key, value in extra.items()}}


def small_clip(
    seed: int = 0, *, dtype: torch.dtype = torch.float32, custom_text: bool = False, **sizes: Any
) -> FrozenClip:
    """A frozen small random CLIP (text width 32, vision 48, embedding 24, 32-pixel images, QuickGELU)."""
    model = small_open_clip(seed, custom_text=custom_text, **sizes)
    return freeze(model, SimpleTokenizer(), mean=MEAN, std=STD, dtype=dtype)

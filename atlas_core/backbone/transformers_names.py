"""CLIP checkpoints of Hugging Face's transformers (`CLIPModel`), under open_clip's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from atlas_core.errors import AtlasError

# Beginnings of names: transformers' `CLIPModel` (models/clip/modeling_clip.py) on the left, `pre_layrnorm` so spelt
# there; open_clip's `CLIP` (model.py, transformer.py) on the right.
_TOWERS = {
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.encoder.layers.": "transformer.resblocks.",
    "text_model.final_layer_norm.": "ln_final.",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "vision_model.post_layernorm.": "visual.ln_post.",
}
_IN_A_BLOCK = {
    ".self_attn.out_proj.": ".attn.out_proj.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}
# Linear layers there, plain matrices [W, D] in open_clip.
_PROJECTIONS = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_QUERY_KEY_VALUE = re.compile(r"(.+)\.self_attn\.([qkv])_proj\.(weight|bias)")


def is_transformers_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are named as in transformers' CLIP."""
    return any(name.startswith(("text_model.", "vision_model.")) for name in state)


def from_transformers(file: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of transformers' `CLIPModel` as a state dict of open_clip's `CLIP`.

    Names that are not known stay as they are. Queries, keys and values are joined into one matrix.

    Args:
        file: The checkpoint's name, for messages.

    Raises:
        AtlasError: A block lacks its queries, keys or values, as they are in other models than CLIP.
    """
    found: dict[str, Tensor] = {}
    joint: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        if part := _QUERY_KEY_VALUE.fullmatch(name):
            block, which, kind = part.groups()
            joint.setdefault(f"{_translated(block + '.')}attn.in_proj_{kind}", {})[which] = value
        elif name in _PROJECTIONS:
            found[_PROJECTIONS[name]] = value.T
        elif not name.endswith("position_ids"):
            found[_translated(name)] = value
    for name, parts in joint.items():
        if len({each.shape for each in parts.values()}) != 1 or len(parts) != 3:
            raise AtlasError(
                f"weights file {file} has {', '.join(sorted(parts))} of queries, keys and values of {name!r},"
                " or they have different shapes",
                expected="a checkpoint of transformers' CLIPModel",
                fix="save one with CLIPModel.save_pretrained",
            )
        found[name] = torch.cat([parts[which] for which in "qkv"])
    return found


def _translated(name: str) -> str:
    for theirs, ours in _TOWERS.items():
        if name.startswith(theirs):
            name = ours + name.removeprefix(theirs)
            break
    for theirs, ours in _IN_A_BLOCK.items():
        name = name.replace(theirs, ours)
    return name

"""Learned context vectors as token positions: initialisation, and class token at the end, middle or front."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.text import end_positions
from atlas_core.errors import AtlasError
from atlas_core.methods.traits.base import Position, placeholder, words

__all__ = [
    "CONTEXT_STD",
    "PromptTokens",
    "context_tokens",
    "placeholder",
    "prompt_tokens",
    "random_context",
    "words",
]

CONTEXT_STD = 0.02  # of CoOp and all its successors (trainers/coop.py)


def context_tokens(clip: FrozenClip, text: str, n: int) -> Tensor:
    """Word embeddings [n, W] of the first `n` tokens of `text`, float32.

    Raises:
        AtlasError: `text` has fewer than `n` tokens.
    """
    ids = clip.tokenize([text])[0]
    n_tokens = n_tokens_of(clip, text)
    if n_tokens < n:
        raise AtlasError(
            f"the initial context {text!r} has {n_tokens} tokens",
            expected=f"at least {n}",
            fix="give a longer ctx_init or a smaller n_ctx",
        )
    return clip.text.token_embedding[ids[1 : 1 + n].to(clip.device)].float().clone()


def n_tokens_of(clip: FrozenClip, text: str) -> int:
    """How many tokens a text has between the start and the end token."""
    return int(end_positions(clip.text, clip.tokenize([text]))[0]) - 1


def random_context(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """N(0, 0.02²), drawn on the CPU so that every device starts from the same numbers."""
    return torch.randn(shape, generator=generator) * CONTEXT_STD


@dataclass(frozen=True)
class PromptTokens:
    """Token ids of prompts with the context's places marked.

    Attributes:
        ids: [C, 77] token ids, the end token being the largest.
        slots: [C, M] position of each context vector.
    """

    ids: Tensor
    slots: Tensor


def prompt_tokens(
    clip: FrozenClip, names: tuple[str, ...], prefix: str, n_ctx: int, position: Position
) -> PromptTokens:
    """Token ids of `prefix name.` with the name moved to its position.

    Args:
        prefix: Text in front of the name whose first `n_ctx` tokens the context vectors replace.
        position: "end" `[ctx] name.`, "middle" `[ctx/2] name [ctx/2].`, "front" `name [ctx].`.
    """
    prompts = [f"{prefix} {name}." for name in names]
    clip.check_length(prompts)
    ids = clip.tokenize(prompts)
    slots = torch.arange(1, 1 + n_ctx).expand(len(names), n_ctx)
    if position == "end":
        return PromptTokens(ids, slots)
    before = n_ctx // 2 if position == "middle" else 0
    moved, places = ids.clone(), slots.clone()
    for row, name in enumerate(names):
        length = n_tokens_of(clip, name)
        name_ids = ids[row, 1 + n_ctx : 1 + n_ctx + length]
        moved[row, 1 + before : 1 + before + length] = name_ids
        moved[row, 1 + before + length : 1 + n_ctx + length] = ids[row, 1 + before : 1 + n_ctx]
        places[row, before:] += length
    return PromptTokens(moved, places)

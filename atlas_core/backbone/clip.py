"""A frozen CLIP: both towers as functions, the tokenizer, and what images must look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atlas_core.backbone.image import ImageTower, extract_image_tower, forward
from atlas_core.backbone.precision import wide
from atlas_core.backbone.text import TextTower, build_layout, encode_prompts, extract_text_tower
from atlas_core.backbone.text_layout import common_prefix
from atlas_core.backbone.text_tower import embed_tokens, end_positions
from atlas_core.backbone.tower_kinds import IMAGE_TOWER, unsupported
from atlas_core.errors import AtlasError
from atlas_core.features.resizing import STANDARD, Resizing


class Tokenizer(Protocol):
    """Texts to ids [C, context_length], cut to that length (default: the text tower's)."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """The ids, int64."""


# Prompts computed at once by `encode_text`; beyond that, a bigger matrix is not faster on a CPU.
_TEXT_CHUNK = 256
_IMAGE_CHUNK = 64


@dataclass(frozen=True, eq=False)
class FrozenClip:
    """A CLIP model that is not trained.

    Attributes:
        text: The text tower.
        image: The image tower where it is a plain vision transformer, else None (`encode_image` still works).
        logit_scale: The factor on cosine similarities, exp of the learned scale.
        image_size: Side of the square input, in pixels.
        mean, std: Per channel, of the normalised input.
        resizing: How a test image becomes that square.
        embed_dim: D, of both features.
    """

    text: TextTower
    image: ImageTower | None
    logit_scale: float
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    embed_dim: int
    tokenizer: Tokenizer
    visual: nn.Module | None
    resizing: Resizing = STANDARD

    @property
    def device(self) -> torch.device:
        return self.text.device

    @property
    def dtype(self) -> torch.dtype:
        return self.text.dtype

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Token ids [C, context_length], int64, on the CPU."""
        return self.tokenizer(list(prompts)).long()

    def check_length(self, prompts: Sequence[str]) -> None:
        """Refuse prompts that are longer than the context, which the tokenizer would cut.

        Raises:
            AtlasError: Names the first such prompt.
        """
        most = self.text.context_length
        # One token more than there is room for tells a prompt that just fits from one that is cut.
        ids = self.tokenizer(list(prompts), context_length=most + 1).long()
        long = (end_positions(self.text, ids) >= most).nonzero().flatten().tolist()
        if long:
            raise prompt_too_long(prompts[long[0]], most)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Raw text features of full prompts, [C, D]; a template that all share is computed once."""
        if not prompts:
            return wide(torch.empty(0, self.embed_dim, dtype=self.dtype, device=self.device))
        ids = self.tokenize(prompts)
        shared = common_prefix(ids, end_positions(self.text, ids))
        layout = build_layout(self.text, ids, shared)
        prefix = embed_tokens(self.text, ids[0, :shared])
        suffix = embed_tokens(self.text, layout.token_ids)
        return encode_prompts(self.text, layout, prefix, suffix, chunks=_TEXT_CHUNK)

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Raw image features [B, D] of normalised pixels [B, 3, H, W], without gradients."""
        return torch.cat([self._encode_images(each) for each in torch.split(pixels, _IMAGE_CHUNK)])

    def image_tower(self) -> ImageTower:
        """The image tower, for methods that prompt it.

        Raises:
            AtlasError: This backbone's image tower is not a plain vision transformer.
        """
        if self.image is None:
            raise unsupported(IMAGE_TOWER, f"the type {type(self.visual).__name__}")
        return self.image

    def _encode_images(self, pixels: Tensor) -> Tensor:
        if self.image is not None:
            return forward(self.image, pixels)
        assert self.visual is not None
        return wide(self.visual(pixels.to(self.device, self.dtype)))


def prompt_too_long(prompt: str, most: int) -> AtlasError:
    """The error about a prompt with more tokens than the context's `most`."""
    return AtlasError(
        f"the prompt {prompt!r} has more tokens than the text tower's context",
        expected=f"at most {most} tokens, start and end among them",
        fix="shorten the class name or the template",
    )


def freeze(
    model: Any,
    tokenizer: Tokenizer,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    resizing: Resizing = STANDARD,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> FrozenClip:
    """A `FrozenClip` with copies of an open_clip model's weights.

    An image tower that is no plain vision transformer is kept itself, moved to `dtype` and `device`.

    Args:
        model: An open_clip `CLIP` or `CustomTextCLIP`.
        tokenizer: Texts to ids [C, context_length].
        mean, std, resizing: Of the pixels that the image tower expects.

    Raises:
        AtlasError: The text tower is of a kind that cannot be prompted.
    """
    where = torch.device(device)
    text = extract_text_tower(model, dtype, where)
    image: ImageTower | None
    visual: nn.Module | None = None
    try:
        image = extract_image_tower(model.visual, dtype, where)
    except AtlasError:
        image = None
        visual = model.visual.to(device=where, dtype=dtype).eval().requires_grad_(False)
    return FrozenClip(
        text=text,
        image=image,
        logit_scale=float(model.logit_scale.detach().double().exp()),
        image_size=_image_size(model.visual),
        mean=_three(mean),
        std=_three(std),
        embed_dim=text.width if text.projection is None else text.projection.shape[1],
        tokenizer=tokenizer,
        visual=visual,
        resizing=resizing,
    )


def normalise(features: Tensor) -> Tensor:
    """Features of unit length, [N, D]; half precision is normalised in float32 and stays float32."""
    return F.normalize(wide(features), dim=-1)


def _image_size(visual: Any) -> int:
    size = visual.image_size
    return int(size[0]) if isinstance(size, tuple) else int(size)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(each) for each in values)
    return red, green, blue

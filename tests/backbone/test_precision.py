"""The towers in half precision: near float32, with gradients that float16 neither loses nor overflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.config import Precision
from atlas_core.backbone.image import forward
from atlas_core.backbone.precision import DTYPES, towers_in
from atlas_core.backbone.text import build_layout, embed_tokens, encode_prompts
from tests.small_clip import small_clip

CLIP = small_clip(3)
HALF_CLIP = small_clip(3, dtype=torch.float16)
NAMES = ("cat", "grand piano", "golden retriever", "golden eagle")
HALVES: tuple[Precision, ...] = ("bf16", "fp16")
# Gradients of the features' product with these directions.
DIRECTIONS = torch.randn(4, CLIP.embed_dim, generator=torch.Generator().manual_seed(6))
Asking = Callable[[Precision], AbstractContextManager[object]]


@contextmanager
def autocast(precision: Precision) -> Iterator[None]:
    with torch.autocast("cpu", dtype=DTYPES[precision]):
        yield


def drawn(*shape: int) -> Tensor:
    return (0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(5))).requires_grad_()


def text_side(clip: FrozenClip, chunks: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """Features of four prompts with a shared, a deep and a class-specific context, and these."""
    ids = clip.tokenize([f"X X X {name}." for name in NAMES])
    layout = build_layout(clip.text, ids, 4)
    context, deep, own = drawn(3, 32), drawn(1, 3, 32), drawn(4, 3, 32)
    features = encode_prompts(
        clip.text,
        layout,
        torch.cat([embed_tokens(clip.text, ids[0, :1]), context]),
        embed_tokens(clip.text, layout.token_ids),
        deep_prompts=deep,
        replace={2: own},
        chunks=chunks,
    )
    return features, [context, deep, own]


def image_side(clip: FrozenClip, checkpoint: bool = False) -> tuple[Tensor, list[Tensor]]:
    """Features of four images with prompts and deep prompts, and these."""
    prompts, deep = drawn(3, 48), drawn(1, 3, 48)
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    return forward(clip.image_tower(), pixels, prompts, deep, checkpoint), [prompts, deep]


SIDES = {"text": text_side, "image": image_side}
# As `SIDES`, computed again in the backward pass, which is outside of `towers_in`.
RECOMPUTED: dict[str, Callable[[FrozenClip], tuple[Tensor, list[Tensor]]]] = {
    "text": lambda clip: text_side(clip, chunks=2),
    "image": lambda clip: image_side(clip, checkpoint=True),
}


def gradients(features: Tensor, learned: list[Tensor], factor: float = 1.0) -> list[Tensor]:
    return list(torch.autograd.grad((features * DIRECTIONS * factor).sum(), learned))


@pytest.mark.parametrize("asking", [towers_in, autocast])
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("side", SIDES)
def test_features_and_gradients_stay_float32_and_near_those_of_a_float32_tower(
    side: str, precision: Precision, asking: Asking
) -> None:
    full, full_learned = SIDES[side](CLIP)
    with asking(precision):
        half, half_learned = SIDES[side](CLIP)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    bound = 0.9995 if precision == "bf16" else 0.99999
    expected = [full.detach(), *gradients(full, full_learned)]
    for found, wanted in zip([half.detach(), *gradients(half, half_learned)], expected, strict=True):
        assert found.dtype == torch.float32
        assert F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > bound


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("side", SIDES)
def test_what_is_recomputed_in_the_backward_pass_is_recomputed_in_the_same_precision(
    side: str, precision: Precision
) -> None:
    with towers_in(precision):
        kept, learned = SIDES[side](CLIP)
        again, other_learned = RECOMPUTED[side](CLIP)
    for found, wanted in zip(gradients(again, other_learned), gradients(kept, learned), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))


@pytest.mark.parametrize("exponent", [-60, -24, 40])
@pytest.mark.parametrize("of", ["training", "backbone"])
@pytest.mark.parametrize("side", SIDES)
def test_float16_keeps_every_bit_of_gradients_far_outside_of_its_range(
    side: str, of: str, exponent: int
) -> None:
    """A power of two on the loss is the same power of two on the gradients, as in float32."""
    with towers_in("fp16" if of == "training" else "fp32"):
        features, learned = SIDES[side](CLIP if of == "training" else HALF_CLIP)
    plain = torch.autograd.grad((features * DIRECTIONS).sum(), learned, retain_graph=True)
    scaled = torch.autograd.grad((features * DIRECTIONS * 2.0**exponent).sum(), learned)
    for found, wanted in zip(scaled, plain, strict=True):
        assert float(wanted.abs().max()) > 0
        assert torch.equal(found, wanted * 2.0**exponent)


@pytest.mark.parametrize("side", SIDES)
def test_a_gradient_of_zero_stays_zero_in_float16(side: str) -> None:
    with towers_in("fp16"):
        features, learned = SIDES[side](CLIP)
    assert all(not each.any() for each in gradients(features, learned, factor=0.0))


@pytest.mark.parametrize("precision", HALVES)
def test_frozen_features_leave_a_half_precision_backbone_in_float32(precision: Precision) -> None:
    clip = small_clip(3, dtype=DTYPES[precision])
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    for found, wanted in (
        (clip.encode_text(NAMES), CLIP.encode_text(NAMES)),
        (clip.encode_image(pixels), CLIP.encode_image(pixels)),
    ):
        assert found.dtype == torch.float32
        assert F.cosine_similarity(found, wanted).min() > 0.999


def test_outside_of_the_request_the_towers_are_float32_again() -> None:
    before, _ = text_side(CLIP)
    with towers_in("bf16"), towers_in("fp32"):
        within, _ = text_side(CLIP)
    assert torch.equal(within, before)
    with pytest.raises(ZeroDivisionError), towers_in("bf16"):
        raise ZeroDivisionError
    assert torch.equal(text_side(CLIP)[0], before)

"""The image tower equals open_clip's, and a textbook tower with visual prompts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from atlas_core.backbone.clip import normalise
from atlas_core.backbone.image import ImageTower, embed_patches, forward, forward_prompted_and_frozen
from tests.small_clip import small_clip, small_open_clip

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
PROMPTS, DEPTH = 3, 2


@cache
def tower_of(dtype: torch.dtype, quick_gelu: bool = True) -> ImageTower:
    return small_clip(seed=3, dtype=dtype, quick_gelu=quick_gelu).image_tower()


@cache
def model_of(dtype: torch.dtype, quick_gelu: bool = True) -> Any:
    return small_open_clip(3, quick_gelu=quick_gelu).to(dtype)


def textbook(visual: Any, pixels: Tensor, prompts: Tensor, deep: Tensor) -> Tensor:
    """open_clip's own modules with prompts appended before `ln_pre` and replaced at later blocks' inputs.

    The published deep visual prompting (MaPLe, IVLP, VPT): appended after the patch tokens without positions;
    block i drops the last n tokens and appends its own.
    """
    count = prompts.shape[-2]
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(pixels), 1, -1), x], dim=1) + visual.positional_embedding
    x = visual.ln_pre(torch.cat([x, prompts.expand(len(pixels), -1, -1)], dim=1))
    for index, block in enumerate(visual.transformer.resblocks):
        if 1 <= index <= len(deep):
            x = torch.cat([x[:, :-count], deep[index - 1].expand(len(pixels), -1, -1)], dim=1)
        x = block(x)
    features: Tensor = visual.ln_post(x[:, 0]) @ visual.proj
    return features


def pixels_of(dtype: torch.dtype, batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=dtype)


def learned_prompts(dtype: torch.dtype, *own: int, width: int = 48) -> tuple[Tensor, Tensor]:
    """Prompts [*own, n, Wv] and deep prompts [J, *own, n, Wv]."""
    generator = torch.Generator().manual_seed(5)
    first = torch.randn(*own, PROMPTS, width, generator=generator, dtype=dtype)
    deep = torch.randn(DEPTH, *own, PROMPTS, width, generator=generator, dtype=dtype)
    return first.requires_grad_(), deep.requires_grad_()


def with_gradients(features: Tensor, learned: tuple[Tensor, ...]) -> list[Tensor]:
    direction = torch.randn(features.shape, generator=torch.Generator().manual_seed(9), dtype=features.dtype)
    scaled = (features * direction).sum() * features.numel() ** -0.5
    return [features.detach(), *torch.autograd.grad(scaled, learned)]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= TOLERANCE[one.dtype] * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_equals_open_clip_without_prompts(dtype: torch.dtype, quick_gelu: bool) -> None:
    pixels = pixels_of(dtype)
    found = forward(tower_of(dtype, quick_gelu), pixels)
    assert_same([found], [model_of(dtype, quick_gelu).encode_image(pixels)])


@pytest.mark.parametrize("vision", [{"no_ln_pre": True}, {"ls_init_value": 0.5}])
def test_equals_open_clip_in_its_variants(vision: dict[str, Any]) -> None:
    pixels = pixels_of(torch.float32)
    clip, model = small_clip(4, vision=vision), small_open_clip(4, vision=vision)
    assert_same([clip.encode_image(pixels)], [model.encode_image(pixels)])  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("own", [(), (4,)], ids=["shared", "one set an image"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_prompted_features_and_gradients_equal_the_textbook_tower(
    dtype: torch.dtype, quick_gelu: bool, own: tuple[int, ...], checkpoint: bool
) -> None:
    prompts, deep = learned_prompts(dtype, *own)
    pixels, visual = pixels_of(dtype), model_of(dtype, quick_gelu).visual
    found = forward(tower_of(dtype, quick_gelu), pixels, prompts, deep, checkpoint=checkpoint)
    wanted = textbook(visual, pixels, prompts, deep)
    assert_same(with_gradients(found, (prompts, deep)), with_gradients(wanted, (prompts, deep)))


@settings(max_examples=15)
@given(depth=st.integers(0, DEPTH), checkpoint=st.booleans())
def test_prompts_go_as_deep_as_there_are_deep_prompts(depth: int, checkpoint: bool) -> None:
    prompts, deep = learned_prompts(torch.float64)
    pixels, visual = pixels_of(torch.float64), model_of(torch.float64).visual
    found = forward(tower_of(torch.float64), pixels, prompts, deep[:depth] if depth else None, checkpoint)
    assert_same(
        with_gradients(found, (prompts,)),
        with_gradients(textbook(visual, pixels, prompts, deep[:depth]), (prompts,)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prompted_and_frozen_together_equal_each_alone(dtype: torch.dtype) -> None:
    tower, pixels = tower_of(dtype), pixels_of(dtype)
    prompts, deep = learned_prompts(dtype)
    prompted, plain = forward_prompted_and_frozen(tower, pixels, prompts, deep)
    alone = forward(tower, pixels, prompts, deep)
    assert not plain.requires_grad
    assert_same([plain], [forward(tower, pixels)])
    assert_same(with_gradients(prompted, (prompts, deep)), with_gradients(alone, (prompts, deep)))


def test_prompts_change_the_features_and_an_image_sees_only_its_own() -> None:
    tower, pixels = tower_of(torch.float64), pixels_of(torch.float64, 2)
    prompts, _ = learned_prompts(torch.float64, 2)
    both = forward(tower, pixels, prompts)
    assert_same([both[1:].detach()], [forward(tower, pixels[1:], prompts[1]).detach()])
    assert (both - forward(tower, pixels)).abs().max() > 1e-3


def test_no_gradient_reaches_the_weights() -> None:
    tower = tower_of(torch.float32)
    tensors = [tower.patch_weight, tower.positional, *(block.qkv_weight for block in tower.blocks)]
    assert not any(each.requires_grad for each in tensors)
    assert not embed_patches(tower, pixels_of(torch.float32)).requires_grad


@pytest.mark.parametrize("deep", [torch.zeros(1, 2, 48), torch.zeros(3, PROMPTS, 48)])
def test_deep_prompts_that_do_not_fit_are_refused(deep: Tensor) -> None:
    prompts, _ = learned_prompts(torch.float32)
    with pytest.raises(ValueError, match="deep prompts"):
        forward(tower_of(torch.float32), pixels_of(torch.float32), prompts, deep)
    with pytest.raises(ValueError, match="deep prompts"):
        forward(tower_of(torch.float32), pixels_of(torch.float32), None, deep)


def test_normalised_features_have_unit_length_in_at_least_float32() -> None:
    features = torch.randn(3, 24)
    torch.testing.assert_close(normalise(features), F.normalize(features, dim=-1))
    assert normalise(features.half()).dtype == torch.float32
    assert normalise(features.double()).dtype == torch.float64


def features_and_gradients(tower: ImageTower, batch: int) -> list[Tensor]:
    prompts, deep = learned_prompts(torch.float32)
    features = forward(tower, pixels_of(torch.float32, batch), prompts, deep)
    return [features.detach(), *torch.autograd.grad(features.square().sum(), [prompts, deep])]


@pytest.mark.slow
def test_a_compiled_tower_has_the_same_features_and_gradients_and_is_compiled_once() -> None:
    plain = tower_of(torch.float32)
    compiled = replace(plain, compiled=True)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for batch in (4, 3, 5):
        expected = features_and_gradients(plain, batch)
        for found, wanted in zip(features_and_gradients(compiled, batch), expected, strict=True):
            scale = float(wanted.abs().max())
            torch.testing.assert_close(found / scale, wanted / scale, atol=1e-5, rtol=0)
    # One graph for the blocks and one for the last, whatever the number of blocks and of images.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2

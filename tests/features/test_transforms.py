"""Transforms: equal to torchvision's where nothing is drawn, equal in distribution where something is."""

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torchvision.transforms as tv
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from PIL import Image
from scipy import stats

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.conventions import conventions
from atlas_core.backbone.known_models import known_models
from atlas_core.errors import AtlasError
from atlas_core.features.images import decode_image
from atlas_core.features.randaugment import OPERATIONS, randaugment
from atlas_core.features.resizing import STANDARD, Interpolation, ResizeMode, Resizing, parse_resizing
from atlas_core.features.transforms import (
    CROP_RATIO,
    CROP_SCALE,
    draw_crop,
    draw_view,
    normalise,
    test_transform,
    view_generator,
)
from tests.features.pictures import noise

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BICUBIC = tv.InterpolationMode.BICUBIC

Caltech = tuple[Path, list[str]]


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([16, 32, 33]))
@settings(max_examples=60)
def test_the_test_transform_is_torchvisions_whatever_the_shape(width: int, height: int, size: int) -> None:
    image = noise(width, height)
    published = tv.Compose([tv.Resize(size, BICUBIC), tv.CenterCrop(size), tv.PILToTensor()])
    assert torch.equal(test_transform(image, size), published(image))


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([16, 32, 33]),
    st.sampled_from(get_args(Interpolation)),
    st.sampled_from(get_args(ResizeMode)),
    st.sampled_from([0, 127]),
)
@settings(max_examples=100)
def test_the_test_transform_is_open_clips_whatever_the_resizing(
    width: int, height: int, size: int, interpolation: Interpolation, mode: ResizeMode, fill: int
) -> None:
    image = noise(width, height)
    cfg = PreprocessCfg(size=size, interpolation=interpolation, resize_mode=mode, fill_color=fill)
    ours = test_transform(image, size, Resizing(interpolation, mode, fill))
    if mode == "longest" and round(min(width, height) / (max(width, height) / size)) == 0:
        assert ours.shape == (3, size, size)  # open_clip fails on an image without any height
        return
    assert torch.equal(normalise(ours, cfg.mean, cfg.std), image_transform_v2(cfg, is_train=False)(image))


def every_distinct_contract() -> list[Any]:
    """One published tag for each way in which open_clip's weights want their images."""
    found: dict[str, Any] = {}
    for model, tags in known_models().weights.items():
        for tag in tags:
            given_ = get_pretrained_cfg(model, tag)
            if given_.get("quick_gelu", False) != known_models().configs[model].get("quick_gelu", False):
                continue  # stands under the model of the other activation as well
            wanted = {
                key: given_[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in given_
            }
            found.setdefault(str(wanted), pytest.param(model, tag, id=f"{model}/{tag}"))
    assert len(found) > 5
    return list(found.values())


@pytest.mark.parametrize(("model", "tag"), every_distinct_contract())
@pytest.mark.parametrize("shape", [(60, 30), (30, 61), (45, 45), (200, 90)])
def test_a_tags_test_transform_is_open_clips_own(model: str, tag: str, shape: tuple[int, int]) -> None:
    size = 32
    merged = merge_preprocess_dict(PreprocessCfg(), get_pretrained_cfg(model, tag))
    open_clips = image_transform_v2(PreprocessCfg(**{**merged, "size": size}), is_train=False)
    wanted = conventions(BackboneConfig(model=model, pretrained=tag)).pixels
    image = noise(*shape)
    ours = normalise(test_transform(image, size, wanted.resizing), wanted.mean, wanted.std)
    assert torch.equal(ours, open_clips(image))


def test_resizing_that_open_clip_does_not_know_is_refused() -> None:
    with pytest.raises(AtlasError, match="shortest, longest, squash"):
        parse_resizing("hub.json", None, "stretch", None)
    with pytest.raises(AtlasError, match="bicubic, bilinear"):
        parse_resizing("hub.json", "nearest", None, None)
    assert parse_resizing("hub.json", "random", None, None) == STANDARD


def test_real_photographs_arrive_at_the_model_as_torchvision_would_bring_them(caltech: Caltech) -> None:
    root, names = caltech
    published = tv.Compose(
        [tv.Resize(224, BICUBIC), tv.CenterCrop(224), tv.ToTensor(), tv.Normalize(MEAN, STD)]
    )
    for name in names:
        image = decode_image(root / name)
        ours = normalise(test_transform(image, 224), MEAN, STD)
        assert torch.equal(ours, published(image))


def test_normalising_a_batch_equals_normalising_each_image() -> None:
    batch = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(
        normalise(batch, MEAN, STD), torch.stack([normalise(each, MEAN, STD) for each in batch])
    )


@pytest.mark.parametrize("size", [(300, 200), (120, 500), (500, 90), (224, 224)])
def test_crops_have_the_distribution_of_random_resized_crop(size: tuple[int, int]) -> None:
    width, height = size
    generator, draws = Random(0), 4000
    ours = np.array([draw_crop(generator, width, height) for _ in range(draws)])
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array(
        [tv.RandomResizedCrop.get_params(image, list(CROP_SCALE), list(CROP_RATIO)) for _ in range(draws)]
    )[:, [1, 0, 3, 2]]
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    areas, their_areas = (crops[:, 2] * crops[:, 3] for crops in (ours, theirs))
    assert stats.ks_2samp(areas, their_areas).pvalue > 1e-3


def test_an_image_too_long_for_any_crop_gives_the_central_one() -> None:
    assert draw_crop(Random(0), 1000, 10) == (493, 0, 13, 10)
    assert draw_crop(Random(0), 10, 1000) == (0, 493, 10, 13)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_a_crop_lies_within_the_image(width: int, height: int, seed: int) -> None:
    left, top, crop_width, crop_height = draw_crop(Random(seed), width, height)
    assert 0 <= left < left + crop_width <= width
    assert 0 <= top < top + crop_height <= height


def test_half_of_the_views_are_flipped() -> None:
    ramp = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 1, 3)))
    views = [draw_view(ramp, "ramp", view, 1, 16).float() for view in range(1000)]
    flipped = sum(bool(view[0, 0, 0] > view[0, 0, -1]) for view in views)
    assert stats.binomtest(flipped, 1000, 0.5).pvalue > 1e-3


def test_a_view_equals_crop_resize_and_flip_by_torchvision() -> None:
    image = noise(90, 70)
    for view in range(8):
        generator = view_generator("a.png", view, 5)
        left, top, width, height = draw_crop(generator, 90, 70)
        expected = tv.functional.resized_crop(image, top, left, height, width, [32, 32], BICUBIC)
        if generator.random() < 0.5:
            expected = tv.functional.hflip(expected)
        assert torch.equal(draw_view(image, "a.png", view, 5, 32), tv.functional.pil_to_tensor(expected))


@pytest.mark.parametrize("recipe", ["random_resized_crop", "randaugment"])
def test_key_view_and_seed_each_decide_the_draw(recipe: str) -> None:
    image = noise(80, 80)
    first = draw_view(image, "a", 0, 0, 48, recipe)  # type: ignore[arg-type]
    assert torch.equal(first, draw_view(image, "a", 0, 0, 48, recipe))  # type: ignore[arg-type]
    for key, view, seed in (("b", 0, 0), ("a", 3, 0), ("a", 0, 3)):
        assert not torch.equal(first, draw_view(image, key, view, seed, 48, recipe))  # type: ignore[arg-type]


def test_neighbouring_seeds_and_views_do_not_share_draws() -> None:
    # "1" and "12" against "11" and "2": parts are kept apart in the hash.
    assert view_generator("a", 12, 1).random() != view_generator("a", 2, 11).random()


def test_draws_are_the_same_in_every_process() -> None:
    program = (
        "from atlas_core.features.transforms import view_generator as g\n"
        "print(g('images/é.jpg', 3, 1).random())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(other.stdout) == view_generator("images/é.jpg", 3, 1).random()


def test_draws_stay_as_they_were() -> None:
    # Recorded once; another value would silently change every bank of views.
    assert view_generator("images/é.jpg", 3, 1).random() == 0.7209385176891694


def test_solarise_keeps_levels_below_a_fractional_threshold() -> None:
    # Magnitude 10 of 30 gives 85.33: Dassl's comparison leaves 85 as it is.
    grey = Image.new("RGB", (2, 2), (85, 86, 0))
    operation, low, high = OPERATIONS[5]
    assert operation(grey, low + (high - low) / 3, Random(0)).getpixel((0, 0)) == (85, 169, 0)


def test_randaugment_applies_every_operation_to_every_image_shape() -> None:
    for index, (operation, low, high) in enumerate(OPERATIONS):
        image = noise(50, 40, index)
        changed = operation(image, low + (high - low) / 3, Random(index))
        assert (changed.size, changed.mode) == (image.size, "RGB")
        assert not np.array_equal(np.asarray(changed), np.asarray(image)) or index in (0, 1)


def test_randaugment_draws_all_sixteen_operations_evenly() -> None:
    flat = Image.new("RGB", (16, 16), (90, 90, 90))
    counts = np.zeros(len(OPERATIONS))
    generator = Random(0)
    for _ in range(1600):
        counts[int(generator.random() * len(OPERATIONS))] += 1
    assert stats.chisquare(counts).pvalue > 1e-3
    assert randaugment(flat, Random(1)).size == (16, 16)


def test_randaugment_view_is_the_whole_image_squashed_before_the_operations() -> None:
    image = noise(100, 30)
    squashed = image.resize((32, 32), Image.Resampling.BICUBIC)
    expected = randaugment(squashed, view_generator("k", 2, 9))
    assert np.array_equal(
        draw_view(image, "k", 2, 9, 32, "randaugment").permute(1, 2, 0), np.asarray(expected)
    )

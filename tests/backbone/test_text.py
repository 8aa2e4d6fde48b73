"""The fast text tower gives the plain tower's features and gradients."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.text import build_layout, embed_tokens, encode_prompts, end_positions, plain_forward
from atlas_core.errors import AtlasError
from tests.small_clip import small_clip, small_open_clip

NAMES = ("cat", "sea or lake", "xylophone", "a very long name of a rare golden retriever", "sea", "cat")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@cache
def clip_of(dtype: torch.dtype, quick_gelu: bool = True) -> FrozenClip:
    return small_clip(seed=3, dtype=dtype, quick_gelu=quick_gelu)


@dataclass
class Case:
    """Random contexts for some classes: G groups over C classes, and what may be replaced at which block."""

    clip: FrozenClip
    ids: Tensor
    groups: int
    context: Tensor
    deep: Tensor | None
    replace: dict[int, Tensor]
    tile_rows: int = 64

    @property
    def learned(self) -> list[Tensor]:
        return [self.context, *([] if self.deep is None else [self.deep]), *self.replace.values()]

    def fast(self, chunks: int | None = None) -> Tensor:
        tower = self.clip.text
        layout = build_layout(tower, self.ids, 1 + self.context.shape[1]).repeat(self.groups)
        layout = dataclasses.replace(layout, tile_rows=self.tile_rows, known={})
        start = embed_tokens(tower, self.ids[0, :1]).expand(self.groups, 1, -1)
        return encode_prompts(
            tower,
            layout,
            torch.cat([start, self.context], dim=1),
            embed_tokens(tower, layout.token_ids),
            self.deep,
            self.replace,
            chunks,
        )

    def plain(self) -> Tensor:
        tower, count = self.clip.text, self.ids.shape[0]
        embedded = embed_tokens(tower, self.ids).repeat(self.groups, 1, 1)
        context = self.context.repeat_interleave(count, dim=0)
        embedded = torch.cat([embedded[:, :1], context, embedded[:, 1 + context.shape[1] :]], dim=1)
        ends = end_positions(tower, self.ids).repeat(self.groups)
        return plain_forward(tower, embedded, ends, self.deep, self.replace)


def with_gradients(features: Tensor, learned: list[Tensor]) -> list[Tensor]:
    """Features, and the gradient that a fixed random direction on them gives each learned tensor."""
    generator = torch.Generator().manual_seed(9)
    direction = torch.randn(features.shape, generator=generator, dtype=features.dtype)
    scale = features.numel() ** -0.5
    return [features.detach(), *torch.autograd.grad((features * direction).sum() * scale, learned)]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        tolerance = TOLERANCE[one.dtype]
        assert (one - other).abs().max() <= tolerance * max(1.0, float(other.abs().max()))


def ids_of(clip: FrozenClip, names: list[str], n_ctx: int) -> Tensor:
    return clip.tokenize([" ".join(["X"] * n_ctx + [name]) + "." for name in names])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    clip = clip_of(dtype, draw(st.booleans()))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
    n_ctx, groups = draw(st.integers(1, 5)), draw(st.sampled_from([1, 1, 2, 3]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))

    def learned(*shape: int) -> Tensor:
        return (0.5 * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_()

    width, layers = clip.text.width, clip.text.layers
    depth, m = draw(st.integers(0, layers - 1)), draw(st.integers(1, n_ctx))
    blocks = draw(st.sets(st.integers(1, layers - 1), max_size=2))
    return Case(
        clip=clip,
        ids=ids_of(clip, names, n_ctx),
        groups=groups,
        context=learned(groups, n_ctx, width),
        deep=learned(depth, m, width) if depth else None,
        replace={block: learned(groups * len(names), m, width) for block in sorted(blocks)},
        tile_rows=draw(st.sampled_from([1, 9, 20, 64])),
    )


@settings(max_examples=60)
@given(cases())
def test_equals_the_plain_tower_in_features_and_gradients(case: Case) -> None:
    features = case.fast()
    # A block's states may be overwritten before they reach the output; such a tensor has no gradient.
    wanted = case.plain()
    used = [each for each in case.learned if _reaches(wanted, each)]
    assert_same(with_gradients(features, used), with_gradients(wanted, used))


@settings(max_examples=25)
@given(cases(), st.integers(1, 4))
def test_chunks_change_memory_and_nothing_else(case: Case, size: int) -> None:
    used = [each for each in case.learned if _reaches(case.plain(), each)]
    assert_same(with_gradients(case.fast(chunks=size), used), with_gradients(case.fast(), used))


def _reaches(output: Tensor, learned: Tensor) -> bool:
    return torch.autograd.grad(output.sum(), [learned], retain_graph=True, allow_unused=True)[0] is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_group_may_have_its_own_deep_prompts(dtype: torch.dtype) -> None:
    """Two stacked runs give what each gives alone."""
    clip = clip_of(dtype)
    ids, width = ids_of(clip, list(NAMES), 3), clip.text.width
    context, deep = torch.randn(2, 3, width, dtype=dtype), torch.randn(2, 2, 3, width, dtype=dtype)
    context.requires_grad_(), deep.requires_grad_()
    together = Case(clip, ids, 2, context, deep, {}).fast()
    alone = [Case(clip, ids, 1, context[run : run + 1], deep[:, run], {}).fast() for run in (0, 1)]
    learned = [context, deep]
    assert_same(with_gradients(together, learned), with_gradients(torch.cat(alone), learned))


@pytest.mark.parametrize("chunks", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contexts_of_a_class_go_anywhere_in_its_prompt(dtype: torch.dtype, chunks: int | None) -> None:
    """CoOp's middle and front positions: only the start token is shared, contexts lie among the suffixes."""
    clip = clip_of(dtype)
    tower, ids = clip.text, ids_of(clip, list(NAMES), 4)
    places = torch.stack(
        [torch.randperm(5, generator=torch.Generator().manual_seed(i))[:3] + 1 for i in range(6)]
    )
    context = torch.randn(6, 3, tower.width, dtype=dtype, requires_grad=True)
    layout = build_layout(tower, ids, 1, distinct=True)
    rows = layout.flat_positions(places)
    suffix = embed_tokens(tower, layout.token_ids).index_copy(0, rows.flatten(), context.flatten(0, 1))
    fast = encode_prompts(tower, layout, embed_tokens(tower, ids[0, :1]), suffix, chunks=chunks)
    embedded = embed_tokens(tower, ids).index_put((torch.arange(6)[:, None], places), context)
    plain = plain_forward(tower, embedded, end_positions(tower, ids))
    assert_same(with_gradients(fast, [context]), with_gradients(plain, [context]))


def test_class_specific_contexts_in_front_may_be_prefixes_of_their_own() -> None:
    clip = clip_of(torch.float64)
    tower, ids = clip.text, ids_of(clip, list(NAMES), 2)
    context = torch.randn(6, 2, tower.width, dtype=torch.float64, requires_grad=True)
    layout = build_layout(tower, ids, 3)
    start = embed_tokens(tower, ids[:, :1])
    fast = encode_prompts(
        tower, layout, torch.cat([start, context], 1), embed_tokens(tower, layout.token_ids)
    )
    embedded = embed_tokens(tower, ids)
    embedded = torch.cat([embedded[:, :1], context, embedded[:, 3:]], dim=1)
    plain = plain_forward(tower, embedded, end_positions(tower, ids))
    assert_same(with_gradients(fast, [context]), with_gradients(plain, [context]))


@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("quick_gelu", [False, True])
@pytest.mark.parametrize("text", [{}, {"ls_init_value": 0.5}, {"pool_type": "eos", "eos_id": 49407}])
def test_equals_open_clip_on_plain_texts(custom_text: bool, quick_gelu: bool, text: dict[str, Any]) -> None:
    sizes: dict[str, Any] = {"seed": 5, "custom_text": custom_text, "quick_gelu": quick_gelu, "text": text}
    model, clip = small_open_clip(**sizes), small_clip(**sizes)
    prompts = [f"a photo of a {name}." for name in NAMES] + [""]
    assert_same([clip.encode_text(prompts)], [model.encode_text(clip.tokenize(prompts))])


def test_encodes_no_text_one_text_and_many_equal_texts() -> None:
    clip = clip_of(torch.float32)
    assert clip.encode_text([]).shape == (0, clip.embed_dim)
    one = clip.encode_text(["a cat"])
    assert_same([clip.encode_text(["a cat"] * 300)], [one.expand(300, -1)])


def test_learned_float32_contexts_are_cast_to_the_tower() -> None:
    clip = clip_of(torch.float64)
    ids = ids_of(clip, ["cat", "dog"], 2)
    context = torch.randn(1, 2, clip.text.width, requires_grad=True)
    features = Case(clip, ids, 1, context, None, {}).fast()
    features.sum().backward()
    assert features.dtype == torch.float64
    assert context.grad is not None
    assert context.grad.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_half_precision_is_near_float32_in_features_and_gradients(
    dtype: torch.dtype, quick_gelu: bool
) -> None:
    found = []
    for precision in (dtype, torch.float32):
        clip = clip_of(precision, quick_gelu)
        context = 0.5 * torch.randn(1, 3, clip.text.width, generator=torch.Generator().manual_seed(4))
        case = Case(clip, ids_of(clip, list(NAMES), 3), 1, context.requires_grad_(), None, {})
        found.append([each.float() for each in with_gradients(case.fast().float(), case.learned)])
    for half, full in zip(*found, strict=True):
        assert torch.nn.functional.cosine_similarity(half.flatten(), full.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("chunks", [None, 2])
def test_without_gradients_nothing_is_kept_and_features_are_the_same(chunks: int | None) -> None:
    clip = clip_of(torch.float64)
    context = torch.randn(1, 3, clip.text.width, dtype=torch.float64, requires_grad=True)
    case = Case(clip, ids_of(clip, list(NAMES), 3), 1, context, None, {})
    with torch.no_grad():
        features = case.fast(chunks)
    assert not features.requires_grad
    assert_same([features], [case.fast().detach()])


def test_a_prompt_that_ends_within_the_prefix_is_refused() -> None:
    clip = clip_of(torch.float32)
    with pytest.raises(AtlasError, match="prefix of 9"):
        build_layout(clip.text, clip.tokenize(["a cat", "a photo of a very long dog name here"]), 9)


def test_prompts_longer_than_the_context_are_refused() -> None:
    clip = clip_of(torch.float32)
    with pytest.raises(AtlasError, match="78 tokens"):
        build_layout(clip.text, torch.zeros(1, 78, dtype=torch.long), 1)


def test_a_position_outside_the_suffix_is_refused() -> None:
    clip = clip_of(torch.float32)
    layout = build_layout(clip.text, clip.tokenize(["a cat", "a blue dog"]), 2, distinct=True)
    with pytest.raises(ValueError, match="position"):
        layout.flat_positions(torch.tensor([[1], [2]]))
    with pytest.raises(ValueError, match="position"):
        layout.flat_positions(torch.tensor([[4], [3]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix": torch.zeros(3, 3, 32)}, "prefix"),
        ({"prefix": torch.zeros(1, 4, 32)}, "prefix"),
        ({"suffix": torch.zeros(2, 32)}, "suffix"),
        ({"deep_prompts": torch.zeros(4, 2, 32)}, "deep prompts"),
        ({"deep_prompts": torch.zeros(2, 3, 32)}, "deep prompts"),
        ({"replace": {0: torch.zeros(2, 2, 32)}}, "block 0"),
        ({"replace": {1: torch.zeros(3, 2, 32)}}, "block 1"),
    ],
)
def test_shapes_that_do_not_fit_the_layout_are_refused(change: dict[str, Any], message: str) -> None:
    clip = clip_of(torch.float32)
    layout = build_layout(clip.text, ids_of(clip, ["cat", "dog"], 2), 3)
    arguments: dict[str, Any] = {
        "prefix": torch.zeros(1, 3, 32),
        "suffix": torch.zeros(layout.n_tokens, 32),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        encode_prompts(clip.text, layout, **arguments)

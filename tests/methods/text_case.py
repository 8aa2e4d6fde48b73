"""One small case that every method on the text side is tried on: random features, no pixels at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from open_clip import SimpleTokenizer
from torch import Tensor

from atlas_core.methods.base import Batch, PromptMethod
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes, parse_options
from tests.methods.plain_clip import PlainClip
from tests.methods.visual_case import (
    NAMES,
    NEW_NAMES,
    Case,
    clip_of_state,
    encode_reference,
    openai_state,
    prompt_ids,
)

TEMPLATES = {
    "coop": "a picture of a {}.",
    "kgcoop": "a drawing of a {}, a kind of thing.",
    "prograd": "a kind of thing, a drawing of a {}.",
    "tcp": "a photo of the thing {}.",
    "tcp_prompt": "X X X X {}, a kind of thing.",
}
_TOKENIZER = SimpleTokenizer()


def make_text_case(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    names: tuple[str, ...] = NAMES,
    trained: bool = True,
    text_layers: int = 4,
    images: int = 5,
) -> Case:
    """A registered method on the small CLIP, every learned parameter moved away from its initial value."""
    method = build(name, options, names=names, trained=trained, text_layers=text_layers)
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    batch = Batch(
        labels=torch.arange(images) % len(names),
        rows=torch.arange(images),
        views=torch.zeros(images, dtype=torch.long),
        features=torch.randn(images, method.clip.embed_dim, generator=torch.Generator().manual_seed(3)),
        pixels=None,
        second_features=None,
        epoch=1,
        step=0,
    )
    return Case(method, batch, PlainText(openai_state(text_layers)), prompt_ids)


def build(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    names: tuple[str, ...] = NAMES,
    trained: bool = True,
    templates: Mapping[str, str] = TEMPLATES,
    text_layers: int = 4,
    seed: int = 1,
    ids: tuple[str, ...] = (),
) -> PromptMethod:
    """A registered method in its initial state."""
    clip, method_class = clip_of_state(text_layers), METHODS.get(name)
    parsed = parse_options(method_class, options or {})
    classes = Classes(names, templates, trained=trained, ids=ids)
    reference = method_class.text_reference(parsed, classes)
    return method_class(
        clip,
        classes,
        parsed,
        generator=torch.Generator().manual_seed(seed),
        reference=None if reference is None else encode_reference((text_layers, 3), reference, names),
    )


def rebuilt(
    case: Case, name: str, options: Mapping[str, Any] | None = None, *, text_layers: int = 4
) -> PromptMethod:
    """The case's method over new class names from its checkpoint; another seed, so nothing is drawn alike."""
    new = build(name, options, names=NEW_NAMES, trained=False, text_layers=text_layers, seed=77)
    new.load_learned_state(case.method.learned_state())
    return new


class PlainText(PlainClip):
    """The slow text tower on prompts that are given as embedded rows."""

    def encode(self, rows: Tensor, end: int, replace: Mapping[int, Tensor] | None = None) -> Tensor:
        """Raw feature [D] of one prompt [77, W] without positions; `replace[j]` [M, W] enters at block j."""
        x = rows + self.state["positional_embedding"]
        for index in range(self._layers("transformer")):
            if replace and index in replace:
                fresh = replace[index]
                x = torch.cat([x[:1], fresh, x[1 + len(fresh) :]])
            x = self._block(f"transformer.resblocks.{index}.", x, self.text_heads, causal=True)
        return self._norm("ln_final.", x)[end] @ self.state["text_projection"]

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """Token ids [C, 77]."""
        ids: Tensor = _TOKENIZER(list(prompts))
        return ids

    def words(self, text: str) -> Tensor:
        """Embeddings of a text's tokens, [n, W]."""
        return self.embed(torch.tensor(_TOKENIZER.encode(text), dtype=torch.long))

    def prompt(self, pieces: Sequence[Tensor]) -> Tensor:
        """Raw feature [D] of start token, pieces, end token and padding."""
        start, end, empty = (self.embed(torch.tensor([each])) for each in (49406, 49407, 0))
        body = torch.cat([start, *pieces, end])
        return self.encode(torch.cat([body, empty.expand(77 - len(body), -1)]), len(body) - 1)

    def template(self, template: str, names: Sequence[str] = NAMES) -> Tensor:
        """Raw features [C, D] of a hand-written prompt."""
        return self.text(self.tokens([template.format(name) for name in names]))

    def context(self, ctx: Tensor, names: Sequence[str] = NAMES) -> Tensor:
        """Raw features [C, D] of `[ctx] name.`"""
        return torch.stack([self.prompt([ctx, self.words(name), self.words(".")]) for name in names])


def plain_of(case: Case) -> PlainText:
    assert isinstance(case.plain, PlainText)
    return case.plain

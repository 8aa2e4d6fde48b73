"""One small case that every method with visual prompts is tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from open_clip import CLIP, SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F

from atlas_core.backbone.clip import FrozenClip, freeze
from atlas_core.backbone.weights import load_weights
from atlas_core.methods.base import Batch, PromptMethod
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes, TextReference, parse_options
from atlas_core.stages.text_features import combine_templates
from tests.methods.plain_clip import PlainClip
from tests.small_clip import MEAN, STD, random_openai_state_dict, small_config

NAMES = ("cat", "grand piano", "Boeing 737-800", "annual crop land")
NEW_NAMES = ("river", "sea or lake", "highway or road")


@lru_cache(maxsize=4)
def openai_state(text_layers: int = 4, vision_layers: int = 3) -> dict[str, Tensor]:
    """A small random state dict in OpenAI's layout, at a logit scale that does not saturate the soft-max."""
    state = random_openai_state_dict(text_layers=text_layers, vision_layers=vision_layers)
    return {**state, "logit_scale": torch.tensor(2.0)}


@lru_cache(maxsize=4)
def clip_of_state(
    text_layers: int = 4, vision_layers: int = 3, dtype: torch.dtype = torch.float32
) -> FrozenClip:
    """The same weights as the project loads them from a file."""
    model = CLIP(**small_config(text_layers=text_layers, vision_layers=vision_layers))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        torch.save(openai_state(text_layers, vision_layers), path)
        load_weights(model, path)
    return freeze(model.eval(), SimpleTokenizer(), mean=MEAN, std=STD, dtype=dtype)


@dataclass(frozen=True)
class Case:
    """A method on random images, and the slow CLIP that knows the same weights."""

    method: PromptMethod
    batch: Batch
    plain: PlainClip
    ids: Callable[[str], Tensor]

    def run(self) -> tuple[Tensor, Tensor]:
        """Loss and logits of the method with one-hot cross-entropy; its parameters then have gradients."""

        def one_hot(z: Tensor) -> Tensor:
            return F.cross_entropy(z, self.batch.labels.repeat(len(z) // len(self.batch.labels)))

        loss, logits = self.method.loss(self.batch, one_hot)
        self.method.zero_grad()
        self.method.backward(loss)
        return loss.detach(), logits.detach()

    def gradients(self) -> dict[str, Tensor]:
        return {name: each.grad for name, each in self.method.named_parameters() if each.grad is not None}

    def leaves(self) -> dict[str, Tensor]:
        """Copies of the learned parameters that the slow computation may differentiate by."""
        return {name: each.requires_grad_() for name, each in self.method.learned_state().items()}


def prompt_ids(prefix: str, names: tuple[str, ...] = NAMES) -> Tensor:
    """[C, 77] ids of `prefix name.`"""
    return SimpleTokenizer()([f"{prefix} {name}." for name in names])


def make_case(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    names: tuple[str, ...] = NAMES,
    trained: bool = True,
    layers: tuple[int, int] = (4, 3),
    images: int = 3,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """A registered method on the small CLIP, every learned parameter moved away from its initial value."""
    clip = clip_of_state(*layers, dtype)
    method_class = METHODS.get(name)
    parsed = parse_options(method_class, options or {})
    classes = Classes(names, {"coop": "a photo of a {}."}, trained=trained)
    reference = method_class.text_reference(parsed, classes)
    method = method_class(
        clip,
        classes,
        parsed,
        generator=torch.Generator().manual_seed(1),
        reference=None if reference is None else encode_reference(layers, reference, names, dtype),
    )
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    drawn = torch.Generator().manual_seed(3)
    pixels, second = torch.randn((2, images, 3, 32, 32), generator=drawn)
    batch = Batch(
        labels=torch.arange(images) % len(names),
        rows=torch.arange(images),
        views=torch.zeros(images, dtype=torch.long),
        features=clip.encode_image(pixels),
        pixels=pixels,
        second_features=clip.encode_image(second),
        epoch=1,
        step=0,
    )
    return Case(method, batch, PlainClip(openai_state(*layers)), prompt_ids)


@lru_cache(maxsize=16)
def encode_reference(
    layers: tuple[int, int],
    reference: TextReference,
    names: tuple[str, ...],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What the text_features stage makes of a reference."""
    clip = clip_of_state(*layers, dtype)
    each = [clip.encode_text([template.format(name) for name in names]) for template in reference.templates]
    return combine_templates(
        torch.stack(each), normalise_each=reference.normalise_each, keep_each=reference.keep_each
    )


def assert_near(found: Tensor, expected: Tensor, what: str = "") -> None:
    """Equal to 1e-5 of the largest expected value."""
    bound = 1e-5 * float(expected.detach().abs().max())
    worst = float((found.detach() - expected.detach()).abs().max())
    assert worst <= bound, f"{what} differs by {worst:.2e}, allowed {bound:.2e}"


def assert_same_gradients(case: Case, leaves: Mapping[str, Tensor], loss: Tensor) -> None:
    """The method's gradients (after `run`) are those of the slow loss by `leaves`."""
    slow = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    found = case.gradients()
    assert found.keys() == slow.keys()
    for name, gradient in slow.items():
        assert float(gradient.abs().max()) > 1e-6, f"the slow gradient of {name} vanishes: nothing is tested"
        assert_near(found[name], gradient, f"gradient of {name}")

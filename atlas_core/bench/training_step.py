"""Whole training steps at ViT-B/16's size: CoOp and CoCoOp beside the published way, MaPLe and PromptSRC too.

Random weights and images: their values do not change the cost. Times are CPU seconds of one thread. A step of ours is
an epoch of one batch in the real training loop (views drawn, features looked up, loss, backward pass, update, curve);
a published step is `published_steps`, measured once, since it takes half a minute. MaPLe and PromptSRC stand beside the
forward and backward pass of their two prompted towers alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import open_clip
import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip, freeze
from atlas_core.backbone.image import forward
from atlas_core.bench.clocks import cpu_and_peak, cpu_seconds, one_thread, peak_gigabytes
from atlas_core.bench.published_steps import PublishedCoCoOp, PublishedCoOp, PublishedTraining
from atlas_core.bench.text_tower import FLOWERS, LAND_USE
from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.cocoop import CoCoOp
from atlas_core.methods.coop import CoOp
from atlas_core.methods.maple import MaPLe
from atlas_core.methods.promptsrc import PromptSRC
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes, parse_options
from atlas_core.methods.visual import split_prompts
from atlas_core.training.data import TrainingData
from atlas_core.training.loop import train
from atlas_core.training.randomness import stream
from atlas_core.training.recipe import Recipe, method_defaults, resolve_recipe

Row = dict[str, object]

_MODEL = "ViT-B-16-quickgelu"
_TEMPLATES = {"coop": "a photo of a {}."}


def rows(rounds: int = 5) -> Iterator[Row]:
    """Every measurement, about four minutes of CPU time."""
    model, clip = random_clip()
    with one_thread():
        yield coop_row(model, clip, FLOWERS, goal=40, steps=rounds + 1)
        yield coop_row(model, clip, LAND_USE, goal=80, steps=rounds + 1)
        yield cocoop_row(model, clip, FLOWERS, goal=5, steps=rounds)
        for name in ("maple", "promptsrc"):
            yield visual_row(clip, name, FLOWERS, goal=0.9, rounds=max(1, rounds // 2))


def random_clip(model: Any = None, tokenizer: Any = None) -> tuple[Any, FrozenClip]:
    """An open_clip model (ViT-B/16 with random weights unless given), and its weights as this project holds them."""
    if model is None:
        torch.manual_seed(0)
        model = open_clip.CLIP(**open_clip.get_model_config(_MODEL))
    model = model.eval().requires_grad_(False)
    size, third = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return model, freeze(model, tokenizer or open_clip.SimpleTokenizer(), mean=size, std=third)


def coop_row(model: Any, clip: FrozenClip, names: tuple[str, ...], *, goal: float, steps: int) -> Row:
    """One step of CoOp with batch 32: the published way once, ours the median of `steps` − 1 after the first."""
    method, recipe = build(clip, "coop", names)
    assert isinstance(method, CoOp)
    images, labels = random_images(clip, recipe.batch_size, len(names))
    published = PublishedTraining(PublishedCoOp(model, names, method.ctx.detach()), images, labels, recipe.lr)
    slow, published_memory = cpu_and_peak(published.step)
    data = TrainingData(labels, view_bank(clip, recipe.batch_size, views=steps))
    quick = median(epoch_seconds(method, data, recipe, steps)[1:])
    memory = peak_gigabytes(lambda: epoch_seconds(method, data, recipe, 1))
    return {
        "name": f"CoOp step, {len(names)} classes, batch {recipe.batch_size}, {len(method.ctx)} context tokens",
        "ours_seconds": quick,
        "baseline": "published: both towers in the loop",
        "baseline_seconds": slow,
        "goal": goal,
        "peak_gigabytes": memory,
        "published_peak_gigabytes": published_memory,
    }


def cocoop_row(model: Any, clip: FrozenClip, names: tuple[str, ...], *, goal: float, steps: int) -> Row:
    """One step of CoCoOp with batch 1, as published; an epoch of 16 shots a class is 16·C such steps."""
    method, recipe = build(clip, "cocoop", names)
    assert isinstance(method, CoCoOp)
    images, labels = random_images(clip, steps, len(names))
    first, second = ((each.weight.detach(), each.bias.detach()) for each in (method.hidden, method.shift))
    slow_method = PublishedCoCoOp(model, names, method.ctx.detach(), first, second)
    slow = cpu_seconds(PublishedTraining(slow_method, images[:1], labels[:1], recipe.lr).step)
    data = TrainingData(labels, view_bank(clip, steps, views=2))
    quick = epoch_seconds(method, data, recipe, 2)[1] / steps
    return {
        "name": f"CoCoOp step, {len(names)} classes, batch {recipe.batch_size}",
        "ours_seconds": quick,
        "baseline": "published: both towers in the loop",
        "baseline_seconds": slow,
        "goal": goal,
        "steps_an_epoch_of_16_shots": 16 * len(names),
    }


def visual_row(clip: FrozenClip, name: str, names: tuple[str, ...], *, goal: float, rounds: int) -> Row:
    """A step of a method with visual prompts, beside its two prompted towers' forward and backward pass alone."""
    method, recipe = build(clip, name, names)
    images, labels = random_images(clip, recipe.batch_size, len(names))
    bare = bare_towers(method, images)
    data = TrainingData(
        labels, view_bank(clip, recipe.batch_size, views=2), pixels=lambda rows, views: images
    )
    pairs = [(cpu_seconds(bare), epoch_seconds(method, data, recipe, 1)[0]) for _ in range(rounds)]
    return {
        "name": f"{type(method).__name__} step, {len(names)} classes, batch {recipe.batch_size}",
        "ours_seconds": median(ours for _, ours in pairs),
        "baseline": "the prompted towers alone",
        "baseline_seconds": median(towers for towers, _ in pairs),
        "ratio": median(towers / ours for towers, ours in pairs),
        "goal": goal,
    }


def bare_towers(method: PromptMethod, images: Tensor) -> Callable[[], None]:
    """Forward and backward passes of the towers with prompts of the method's shapes, and nothing else."""
    assert isinstance(method, MaPLe | PromptSRC)
    text = method.text_prompts.detach().clone().requires_grad_()
    learned = method.visual_prompts if isinstance(method, PromptSRC) else method.visual_prompts()
    visual = learned.detach().clone().requires_grad_()

    def once() -> None:
        first, deep = split_prompts(visual)
        image = forward(method.clip.image_tower(), images, first, deep)
        total = image.sum() + method.prompts.encode(text, None).sum()
        total.backward()  # type: ignore[no-untyped-call]

    return once


def build(clip: FrozenClip, name: str, names: tuple[str, ...], **changed: object) -> tuple[PromptMethod, Any]:
    """A registered method in its initial state, with the constants of base-to-new and the `changed` options."""
    kind = METHODS.get(name)
    recipe, options = resolve_recipe(
        method_defaults(kind.defaults_file),
        protocol="base_to_new",
        dataset="any",
        shots=16,
        training={"average": None},
        options=changed,
    )
    parsed, classes = parse_options(kind, options), Classes(names, _TEMPLATES)
    # Values do not matter to the cost, so no templates are encoded.
    wanted = kind.text_reference(parsed, classes) is not None
    reference = torch.randn(len(names), clip.embed_dim, generator=stream(0, "reference")) if wanted else None
    method = kind(clip, classes, parsed, generator=stream(0, "initial context"), reference=reference)
    return method, recipe


def epoch_seconds(method: PromptMethod, data: TrainingData, recipe: Recipe, epochs: int) -> list[float]:
    """CPU seconds of each of `epochs` epochs in the training loop, one-hot labels."""
    classes = len(method.classes)
    supervisor = Supervisor.from_config(SupervisionConfig.model_validate("one_hot"), FrozenTargets(classes))
    ticks = [time.process_time()]
    short = recipe.model_copy(update={"epochs": epochs, "stop_after": None})
    train(method, data, supervisor, short, seed=0, on_epoch=lambda _: ticks.append(time.process_time()))
    return [end - start for start, end in pairwise(ticks)]


def random_images(clip: FrozenClip, count: int, classes: int) -> tuple[Tensor, Tensor]:
    """Normalised images [B, 3, H, W] and labels [B]."""
    generator = stream(0, "images")
    pixels = torch.randn(count, 3, clip.image_size, clip.image_size, generator=generator)
    return pixels, torch.randint(classes, (count,), generator=generator)


def view_bank(clip: FrozenClip, count: int, views: int) -> Tensor:
    """[N, V, D] features."""
    return torch.randn(count, views, clip.embed_dim, generator=stream(0, "bank"))

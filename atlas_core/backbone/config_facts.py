"""What a model's config says of its towers, without importing torch where that is enough."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from atlas_core.backbone.source import model_config
from atlas_core.backbone.tower_kinds import check_image_tower
from atlas_core.errors import AtlasError


def image_tower_kind(model: str) -> str:
    """What the image tower is where it is no plain vision transformer, in words; empty where it is one."""
    config = model_config(model)
    vision = config["vision_cfg"]
    if "timm_model_name" in vision:
        return f"the timm model {vision['timm_model_name']}"
    if isinstance(vision.get("layers"), (list, tuple)):
        return "a ResNet"
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        return "a vision transformer that pools otherwise than by its class token"
    try:
        check_image_tower(config)
    except AtlasError as error:
        return error.what
    return ""


def text_layers(model: str) -> int:
    """Blocks of the text tower."""
    return int(model_config(model)["text_cfg"].get("layers", 12))


def context_length(model: str) -> int:
    """Tokens that the text tower reads, start and end among them."""
    return int(model_config(model)["text_cfg"].get("context_length", 77))


def too_long(prompts: Iterable[str], model: str) -> str | None:
    """The first prompt with more tokens than the model's context, start and end counted; None where all fit.

    A token has at least one byte, so only prompts with many are looked at with the tokenizer, which takes seconds
    to import. Those of a tokenizer that has to be had from a hub are left to `FrozenClip.check_length`.
    """
    most = context_length(model) - 2
    return next(
        (each for each in prompts if _most_tokens(each) > most and _count(each, model, most) > most), None
    )


def has_tokens(text: str, count: int, model: str) -> bool:
    """Whether a text has at least so many tokens, start and end not counted."""
    return len(text.split()) >= count or _count(text, model, count) >= count


def _most_tokens(prompt: str) -> int:
    return len(prompt.replace(" ", "").encode("utf-8", "surrogateescape"))


def _count(text: str, model: str, otherwise: int) -> int:
    """Tokens of a text, start and end not counted; `otherwise` where only a hub's tokenizer could tell."""
    tokenizer = _tokenizer(model)
    return otherwise if tokenizer is None else len(tokenizer.encode(text))


@lru_cache(maxsize=4)
def _tokenizer(model: str) -> Any:
    text = model_config(model)["text_cfg"]
    if text.get("hf_tokenizer_name"):
        return None
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(**(text.get("tokenizer_kwargs") or {}))

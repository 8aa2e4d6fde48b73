"""Which of open_clip's published weights can be used, and for what; told without building or fetching a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.conventions import conventions
from atlas_core.backbone.known_models import known_models
from atlas_core.backbone.tower_kinds import check_image_tower, check_text_tower
from atlas_core.errors import AtlasError

State = Literal["works", "features only", "refused"]
EVERYTHING = "all"


@dataclass(frozen=True)
class Support:
    """What published weights are good for.

    Attributes:
        state: "works" with every method; "features only" with those that leave the image tower unprompted (the
            others are refused); "refused" with none.
        reason: Why it is not "works", else empty.
    """

    model: str
    tag: str
    state: State
    reason: str


def support(model: str, tag: str) -> Support:
    """What one tag of a model is good for."""
    config = known_models().configs[model]
    try:
        check_text_tower(model, config)
        conventions(BackboneConfig(model=model, pretrained=tag))
    except AtlasError as error:
        known = error.fix.startswith(("set ", "install "))  # a way to use these weights, not another model
        return Support(model, tag, "refused", error.fix if known else error.what)
    try:
        check_image_tower(config)
    except AtlasError as error:
        return Support(model, tag, "features only", error.what)
    return Support(model, tag, "works", "")


def support_table() -> str:
    """All published weights as a table in Markdown: a row for the tags of a model that are good for the same."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for each in published_support():
        rows.setdefault((each.model, each.state, each.reason), []).append(each.tag)
    lines = ["| model | pretrained tags | | why |", "|---|---|---|---|"]
    for (model, state, reason), tags in rows.items():
        lines.append(f"| `{model}` | {', '.join(f'`{tag}`' for tag in tags)} | {state} | {reason} |")
    return "\n".join(lines)


def published_support(pattern: str = EVERYTHING) -> Iterator[Support]:
    """Every tag of open_clip whose "model/tag" holds `pattern`, in open_clip's order.

    Raises:
        AtlasError: No tag does.
    """
    names = [(model, tag) for model, tags in known_models().weights.items() for tag in tags]
    chosen = [
        (model, tag)
        for model, tag in names
        if pattern == EVERYTHING or pattern.lower() in f"{model}/{tag}".lower()
    ]
    if not chosen:
        raise AtlasError(
            f"no published weights of open_clip have {pattern!r} in their name",
            expected="a part of a name such as 'ViT-B-16/laion2b_s34b_b88k'",
            fix=f"`atlas doctor --backbone {EVERYTHING}` lists all",
        )
    for model, tag in chosen:
        yield support(model, tag)

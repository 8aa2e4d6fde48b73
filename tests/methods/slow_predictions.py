"""Every method's prediction written out slowly, from its learned parameters, class names and templates alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tests.methods.plain_clip import unit
from tests.methods.text_case import PlainText
from tests.methods.visual_case import prompt_ids

Leaves = Mapping[str, Tensor]
Templates = Mapping[str, str]

PROGRAD_CONTEXTS = 16


def slow_prediction(
    plain: PlainText,
    method: str,
    leaves: Leaves,
    pixels: Tensor,
    names: Sequence[str],
    templates: Templates,
    *,
    rows: Sequence[int] | None = None,
) -> Tensor:
    """Logits [B, C] of normalised pixels among any classes.

    Args:
        templates: Of the dataset that is predicted, every family.
        rows: For DePT, the row of its head that belongs to each class; None where the classes have no head.
    """
    host = method.removeprefix("dept_")
    image = slow_image(plain, host, leaves, pixels)
    if host == "cocoop":
        logits = torch.stack([_cocoop(plain, leaves, each, names) for each in image])
    else:
        logits = plain.logits(image, slow_text(plain, host, leaves, names, templates))
    if method == host or rows is None:
        return logits
    modulated = leaves["film_image.scale"] * image + leaves["film_image.bias"]
    head = modulated @ leaves["linear.weight"].T + leaves["linear.bias"]
    return 0.3 * logits + 0.7 * head[:, list(rows)]


def slow_image(plain: PlainText, host: str, leaves: Leaves, pixels: Tensor) -> Tensor:
    """Raw image features [B, D]."""
    visual = leaves.get("visual_prompts")
    if "coupling_weight" in leaves:
        coupled = zip(leaves["text_prompts"], leaves["coupling_weight"], leaves["coupling_bias"], strict=True)
        visual = torch.stack([text @ weight.T + bias for text, weight, bias in coupled])
    features = plain.image(pixels) if visual is None else plain.image(pixels, visual[0], list(visual[1:]))
    return _adapted(features, leaves, "adapt_image", 0.1) if host == "coprompt" else features


def slow_text(
    plain: PlainText, host: str, leaves: Leaves, names: Sequence[str], templates: Templates
) -> Tensor:
    """Raw class features [C, D]."""
    if host == "zero_shot":
        return plain.template(templates["coop"], names)
    if host == "vpt":
        return plain.template("a photo of a {}.", names)
    if host == "tcp":
        return _tcp(plain, leaves, names, templates)
    if host == "prograd":
        words = templates["prograd"].partition("{}")[0].split()
        prefix = " ".join(["X"] * (PROGRAD_CONTEXTS - len(words)) + words)
        return plain.text(prompt_ids(prefix, tuple(names)), leaves["ctx"])
    if "text_prompts" in leaves:
        ids = prompt_ids("a photo of a", tuple(names))
        text = plain.text(ids, leaves["text_prompts"][0], list(leaves["text_prompts"][1:]))
    else:
        ids = prompt_ids(" ".join(["X"] * len(leaves["ctx"])), tuple(names))
        text = plain.text(ids, leaves["ctx"])
    return _adapted(text, leaves, "adapt_text", 0.2) if host == "coprompt" else text


def _cocoop(plain: PlainText, leaves: Leaves, image: Tensor, names: Sequence[str]) -> Tensor:
    hidden = (leaves["hidden.weight"] @ unit(image) + leaves["hidden.bias"]).clamp(min=0)
    shift = leaves["shift.weight"] @ hidden + leaves["shift.bias"]
    ids = prompt_ids("a photo of a", tuple(names))
    return plain.logits(image[None], plain.text(ids, leaves["ctx"] + shift))[0]


def _tcp(plain: PlainText, leaves: Leaves, names: Sequence[str], templates: Templates) -> Tensor:
    features = []
    block = round(plain.text_layers * 2 / 3)
    for name, fixed in zip(names, unit(plain.template(templates["tcp"], names)), strict=True):
        hidden = leaves["hidden.weight"] @ fixed + leaves["hidden.bias"]
        hidden = hidden / (1 + torch.exp(-1.702 * hidden))
        own = (leaves["prompts.weight"] @ hidden + leaves["prompts.bias"]).reshape(leaves["ctx"].shape)
        (row,) = plain.tokens([templates["tcp_prompt"].format(name)])
        embedded = plain.embed(row)
        embedded = torch.cat([embedded[:1], leaves["ctx"], embedded[1 + len(own) :]])
        features.append(plain.encode(embedded, int(row.argmax()), {block: own}))
    return torch.stack(features)


def _adapted(x: Tensor, leaves: Leaves, name: str, share: float) -> Tensor:
    inner = (x @ leaves[f"{name}.down.weight"].T).clamp(min=0)
    return share * (inner @ leaves[f"{name}.up.weight"].T).clamp(min=0) + (1 - share) * x

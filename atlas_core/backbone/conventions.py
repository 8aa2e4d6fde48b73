"""What weights were trained with beside their architecture: activation, normalisation and resizing of pixels.

Said by a pretrained tag, by a config file, or by the weights file itself; where none of them says it and open_clip's
published weights of the same architecture do not agree, it is asked for. A wrong guess costs accuracy without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.evidence import Evidence, file_evidence
from atlas_core.backbone.known_models import known_models
from atlas_core.backbone.source import (
    OPENAI_MEAN,
    OPENAI_STD,
    config_file_content,
    is_config_file,
    known_tag,
    model_config,
    tag_config,
    weights_file,
    weights_sha256,
)
from atlas_core.errors import AtlasError
from atlas_core.features.resizing import Resizing, parse_resizing

_QUICK = "-quickgelu"
# By which open_clip checks what it fetches (open_clip/pretrained.py, `download_pretrained_from_url`).
_DIGEST = re.compile(r"/([0-9a-f]{64})/[^/]+$|-([0-9a-f]{8})\.\w+$")


@dataclass(frozen=True)
class Pixels:
    """The image that a model expects: mean and std a channel, and how it is resized."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resizing: Resizing

    def __str__(self) -> str:
        return f"mean {_short(self.mean)}, std {_short(self.std)}, {self.resizing}"


@dataclass(frozen=True)
class Conventions:
    """What weights were trained with; `quick_gelu` says QuickGELU or GELU."""

    quick_gelu: bool
    pixels: Pixels


def conventions(cfg: BackboneConfig) -> Conventions:
    """The conventions of a configuration's weights.

    Raises:
        AtlasError: The weights are of another activation than the model, or nothing tells which conventions they
            keep; the message has the readings and the option that picks one.
    """
    quick = bool(model_config(cfg.model).get("quick_gelu", False))
    said = None if cfg.activation == "auto" else cfg.activation == "quick_gelu"
    if is_config_file(cfg.model):
        content = config_file_content(cfg.model)
        if said is None:
            _check_config_file(cfg, quick)
        preprocessing = content.get("preprocess_cfg") or {}
        return Conventions(quick if said is None else said, _pixels(cfg.model, preprocessing))
    if cfg.weights is None or cfg.pretrained is not None:
        tag = _tag(cfg)
        if said is None or cfg.weights is None:
            _check_activation(cfg.model, quick, tag.quick_gelu, f"weights {tag.tag!r}")
        if cfg.weights is None and said not in (None, quick):
            raise AtlasError(
                f"`backbone.activation: {cfg.activation}`, but weights {tag.tag!r} were trained"
                f" {_with(quick)} QuickGELU",
                expected="an answer about weights from a file",
                fix="leave `backbone.activation` out",
            )
        return Conventions(quick if said is None else said, tag.pixels)
    return _of_a_file(cfg, cfg.weights, quick, said)


def _of_a_file(cfg: BackboneConfig, weights: Path, quick: bool, said: bool | None) -> Conventions:
    """Conventions of a local file of a named model whose tag is not given."""
    published, evidence = list(_family(cfg.model)), file_evidence(weights)
    if evidence is not None and evidence.openai:
        published = [each for each in published if each.tag == "openai"] or published
    elif copies := [each for each in published if each.is_copied_by(weights)]:
        published = copies
    if said is None:
        said = _decided(cfg.model, weights, quick, published, evidence)
    if evidence is not None and evidence.preprocessing is not None:
        return Conventions(said, _pixels(f"the config beside {weights.name}", evidence.preprocessing))
    agreeing = [each for each in published if each.quick_gelu == said] or published
    readings: dict[Pixels, list[str]] = {}
    for each in agreeing or [_Published(cfg.model, "", {})]:
        readings.setdefault(each.pixels, []).append(each.tag)
    if len(readings) > 1:
        raise _two_pixels(cfg.model, weights, readings)
    return Conventions(said, next(iter(readings)))


def _decided(
    model: str, weights: Path, quick: bool, published: Sequence[_Published], evidence: Evidence | None
) -> bool:
    """Whether a file is of QuickGELU: as it says itself, else as all published weights of its architecture are."""
    if evidence is not None:
        said = f"weights in {weights.name} ({evidence.words})"
        _check_activation(model, quick, evidence.quick_gelu, said)
        return evidence.quick_gelu
    used = {each.quick_gelu for each in published} or {quick}
    if len(used) > 1:
        raise _two_activations(model, weights, published)
    (trained,) = used
    said = f"weights file {weights.name} does not tell its activation, and all published weights of its architecture"
    if all(each.is_copied_by(weights) for each in published) and published:
        said = f"weights in {weights.name}, which is the published file of {published[0].tag!r},"
    otherwise = f"; or `backbone.activation: {_word(quick)}`, if yours were trained so"
    _check_activation(model, quick, trained, said, otherwise)
    return trained


@dataclass(frozen=True)
class _Published:
    """Published weights and how they were trained, as open_clip knows it."""

    model: str
    tag: str
    contract: Mapping[str, Any]

    @property
    def quick_gelu(self) -> bool:
        return bool(self.contract.get("quick_gelu", False))

    def is_copied_by(self, weights: Path) -> bool:
        """Whether a file is the published one, by the part of its SHA-256 that stands in the published address."""
        digest = _DIGEST.search(self.contract.get("url") or "")
        return digest is not None and weights_sha256(weights).startswith(digest[1] or digest[2])

    @property
    def pixels(self) -> Pixels:
        return _pixels(f"the tag {self.tag!r} of {self.model}", self.contract)


def _family(model: str) -> Iterator[_Published]:
    """All published weights of an architecture, of either activation."""
    base = model.removesuffix(_QUICK)
    for name in (base, base + _QUICK):
        for tag, contract in known_models().weights.get(name, {}).items():
            yield _Published(name, tag, contract)


def _tag(cfg: BackboneConfig) -> _Published:
    """The published weights that a configuration names; of a file's, also those of the other activation's model."""
    if cfg.weights is not None and cfg.pretrained is not None:
        asked = cfg.pretrained.lower().replace("-", "_")
        others = [each for each in _family(cfg.model) if each.tag == asked]
        if others and all(each.model != cfg.model for each in others):
            return others[0]
    tag = known_tag(cfg.model, cfg.pretrained)
    return _Published(cfg.model, tag, tag_config(cfg.model, tag))


def _check_config_file(cfg: BackboneConfig, quick: bool) -> None:
    """Refuse weights that say another activation than their config file; a config says all else itself."""
    weights = weights_file(cfg)
    evidence = None if weights is None else file_evidence(weights)
    if weights is None or evidence is None or evidence.quick_gelu == quick:
        return
    raise AtlasError(
        f"weights file {weights.name} ({evidence.words}) was trained {_with(evidence.quick_gelu)} QuickGELU,"
        f" unlike config {cfg.model}",
        expected="the activation that the weights were trained with",
        fix=f'put "quick_gelu": {str(evidence.quick_gelu).lower()} into the config, or set `backbone.activation`'
        f" to `{_word(evidence.quick_gelu)}` (or to `{_word(quick)}`, if the weights were trained on with it)",
    )


def _check_activation(model: str, quick: bool, trained: bool, weights: str, otherwise: str = "") -> None:
    if quick == trained:
        return
    other = model + _QUICK if trained else model.removesuffix(_QUICK)
    twin = other != model and other in known_models().configs
    raise AtlasError(
        f"{weights} were trained {_with(trained)} QuickGELU, unlike model {model!r}",
        expected="the activation that the weights were trained with",
        fix=(f"set `backbone.model: {other}`" if twin else f"set `backbone.activation: {_word(trained)}`")
        + otherwise,
    )


def _two_activations(model: str, weights: Path, published: Sequence[_Published]) -> AtlasError:
    readings = {
        quick: _some(sorted({each.tag for each in published if each.quick_gelu == quick}))
        for quick in (True, False)
    }
    return AtlasError(
        f"weights file {weights.name} does not say whether it was trained with QuickGELU, and weights of"
        f" {model.removesuffix(_QUICK)} are published with it ({readings[True]}) and without ({readings[False]})",
        expected="the activation that the weights were trained with",
        fix="set `backbone.activation: quick_gelu` or `backbone.activation: gelu`; or, if the file holds published"
        " weights, `backbone.pretrained` to their tag; or `backbone.model` to the open_clip_config.json that came"
        " with the file",
    )


def _two_pixels(model: str, weights: Path, readings: Mapping[Pixels, Sequence[str]]) -> AtlasError:
    listed = "; ".join(f"{pixels} ({_some(sorted(set(tags)))})" for pixels, tags in readings.items())
    return AtlasError(
        f"weights file {weights.name} does not say which pixels it was trained on, and published weights of"
        f" {model} differ: {listed}",
        expected="the normalisation and resizing that the weights were trained with",
        fix="set `backbone.pretrained` to the tag whose pixels these are; or `backbone.model` to a config file with"
        ' "model_cfg" and "preprocess_cfg", as the open_clip_config.json that came with the file',
    )


def _pixels(source: str, contract: Mapping[str, Any]) -> Pixels:
    resizing = parse_resizing(
        source, contract.get("interpolation"), contract.get("resize_mode"), contract.get("fill_color")
    )
    mean, std = _channels(contract.get("mean"), OPENAI_MEAN), _channels(contract.get("std"), OPENAI_STD)
    return Pixels(mean, std, resizing)


def _with(quick: bool) -> str:
    return "with" if quick else "without"


def _word(quick: bool) -> str:
    return "quick_gelu" if quick else "gelu"


def _channels(values: Sequence[float] | float | None, otherwise: Sequence[float]) -> tuple[float, ...]:
    if isinstance(values, (int, float)):
        return (float(values),) * 3
    return tuple(float(each) for each in (values or otherwise))


def _short(values: Sequence[float]) -> str:
    return "/".join(f"{each:.3g}" for each in values)


def _some(tags: Sequence[str], most: int = 4) -> str:
    return ", ".join(tags[:most]) + (", …" if len(tags) > most else "")

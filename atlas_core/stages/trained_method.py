"""A run's method, in its initial state or as it was trained, over any classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_core.backbone.clip import FrozenClip
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.registry import METHODS
from atlas_core.methods.traits.base import Classes, parse_options
from atlas_core.stages.tensors import read_text_features
from atlas_core.training.checkpoint import read_tensors
from atlas_core.training.randomness import stream

PROMPTS_FILE = "prompts.safetensors"


def build_method(
    clip: FrozenClip,
    config: Mapping[str, Any],
    inputs: Mapping[str, Path],
    *,
    cost: Mapping[str, Any] | None = None,
) -> PromptMethod:
    """The method of a run over the classes that it trains on, in its initial state.

    Args:
        config: A tune job's configuration.
        inputs: Folders by role: `classes` (text features), and `reference` where the method has one.
        cost: The method's options that decide time and memory alone; the defaults where None.
    """
    return _over_classes(clip, config, inputs, config["templates"], trained=True, cost=cost)


def load_method(
    clip: FrozenClip,
    run: Path,
    inputs: Mapping[str, Path],
    *,
    templates: Mapping[str, str],
    trained: bool,
    cost: Mapping[str, Any] | None = None,
) -> PromptMethod:
    """A trained run over any classes, from its artifact.

    Args:
        run: Folder of the tune artifact.
        inputs: Folders by role, of the classes that are wanted: `classes`, and `reference` where the method has one.
        templates: The templates of these classes' dataset, which need not be the one that was trained on.
        trained: Whether these are the classes that the run was trained on.
        cost: As for `build_method`.
    """
    state, metadata = read_tensors(run / PROMPTS_FILE)
    method = _over_classes(clip, metadata["config"], inputs, templates, trained=trained, cost=cost)
    if method.learns:
        method.load_learned_state(state, trained_classes(metadata))
    return method.eval()


def trained_classes(metadata: Mapping[str, Any]) -> Classes:
    """The classes that a run was trained on, from the metadata of its learned parameters."""
    # Folders that were exported before classes had ids have none.
    ids = tuple(metadata.get("ids", ()))
    return Classes(tuple(metadata["names"]), metadata["config"]["templates"], ids=ids)


def _over_classes(
    clip: FrozenClip,
    config: Mapping[str, Any],
    inputs: Mapping[str, Path],
    templates: Mapping[str, str],
    *,
    trained: bool,
    cost: Mapping[str, Any] | None,
) -> PromptMethod:
    method_class = METHODS.get(config["method"])
    text = read_text_features(inputs["classes"])
    reference = (
        read_text_features(inputs["reference"]).features.to(clip.device) if "reference" in inputs else None
    )
    return method_class(
        clip,
        Classes(text.names, templates, trained=trained, ids=text.ids),
        parse_options(method_class, {**config["options"], **(cost or {})}),
        generator=stream(config["seed"], "initial context"),
        reference=reference,
    )

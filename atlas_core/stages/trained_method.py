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
    trained: bool,
    cost: Mapping[str, Any] | None = None,
) -> PromptMethod:
    """The run's method over the classes of the `classes` input, in its initial state.

    Args:
        config: A tune job's configuration.
        inputs: Folders by role: `classes` (text features), and `reference` where the method has one.
        trained: Whether these are the classes that the run trains on.
        cost: The method's options that decide time and memory alone; the defaults where None.
    """
    method_class = METHODS.get(config["method"])
    text = read_text_features(inputs["classes"])
    reference = (
        read_text_features(inputs["reference"]).features.to(clip.device) if "reference" in inputs else None
    )
    return method_class(
        clip,
        Classes(text.names, config["templates"], trained=trained),
        parse_options(method_class, {**config["options"], **(cost or {})}),
        generator=stream(config["seed"], "initial context"),
        reference=reference,
    )


def load_method(
    clip: FrozenClip,
    run: Path,
    inputs: Mapping[str, Path],
    *,
    trained: bool,
    cost: Mapping[str, Any] | None = None,
) -> tuple[PromptMethod, dict[str, Any]]:
    """A trained run over any classes, from its artifact; returns the method and the run's configuration."""
    state, metadata = read_tensors(run / PROMPTS_FILE)
    method = build_method(clip, metadata["config"], inputs, trained=trained, cost=cost)
    if method.learns:
        method.load_learned_state(state, metadata["names"])
    return method.eval(), metadata["config"]

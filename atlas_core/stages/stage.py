"""A stage: what it runs, which code that is, and how a job of it is described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas_core.hashing import artifact_key
from atlas_core.manifest import ArtifactRef
from atlas_core.placement import Placement
from atlas_core.registry import Registry


@dataclass(frozen=True)
class Job:
    """One artifact to be made, ready to be sent to another process.

    Attributes:
        key_parts: Everything that the key is made of.
        inputs: Role → input artifact.
        runtime: What the stage needs to find its files and is no part of the key.
        stack: Name of the stack that it may train in; empty for a job that runs alone.
    """

    stage: str
    name: str
    family: str
    key_parts: dict[str, Any]
    inputs: dict[str, ArtifactRef]
    runtime: dict[str, Any] = field(default_factory=dict)
    stack: str = ""

    @property
    def key(self) -> str:
        return artifact_key(self.key_parts)

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.key_parts["config"]
        return config


@dataclass(frozen=True)
class StageContext:
    """What a stage's function is given.

    Attributes:
        config: The configuration that the stage reads, all of it in the key.
        inputs: Role → folder of the input artifact.
        out: Empty folder that becomes the artifact.
        work: Folder that outlives a crash, for checkpoints and shards; removed once the artifact is whole.
        key: The artifact's key.
        runtime: Where files are (no part of the key).
    """

    config: Mapping[str, Any]
    inputs: Mapping[str, Path]
    out: Path
    work: Path
    key: str
    runtime: Mapping[str, Any]
    placement: Placement


@dataclass(frozen=True)
class Stage:
    """A node kind of the DAG.

    Attributes:
        run: Makes the artifact.
        source: Extra key part read from the world outside the store when the key is made (a folder's listing),
            from the node's configuration and runtime; None where there is nothing outside.
        usable: Whether an artifact found in the store still stands for something that is there.
    """

    run: Callable[[StageContext], None]
    source: Callable[[Mapping[str, Any], Mapping[str, Any]], str] | None = None
    usable: Callable[[Mapping[str, Any]], bool] | None = None


STAGE_ORDER = (
    "fetch",
    "index",
    "text_features",
    "image_features",
    "pixels",
    "csl",
    "isl",
    "tune",
    "evaluate",
    "aggregate",
)
# Stages with a `source` or `usable`; the others need not be imported to tell what is stale.
LOOKS_OUTSIDE = frozenset({"fetch", "index"})

STAGES: Registry[Stage] = Registry("stage", "atlas.stages")
for _name, _target, _summary in (
    ("fetch", "fetch:FETCH", "brings a dataset's files onto the disk"),
    ("index", "index:INDEX", "reads a dataset's layout: images, labels, class names"),
    ("text_features", "text_features:TEXT_FEATURES", "frozen text features of hand-written prompts"),
    (
        "image_features",
        "image_features:IMAGE_FEATURES",
        "frozen image features of test images or training views",
    ),
    ("pixels", "pixels:PIXELS", "decoded, resized images for methods that learn visual prompts"),
    ("csl", "soft_labels:CSL", "class-wise soft labels"),
    ("isl", "soft_labels:ISL", "instance-wise soft labels"),
    ("tune", "tune:TUNE", "one training"),
    ("evaluate", "evaluate:EVALUATE", "one trained model on one test set"),
    ("aggregate", "aggregate:AGGREGATE", "a study's rows, compacted"),
):
    STAGES.add_lazy(_name, f"atlas_core.stages.{_target}", _summary)

"""A node of a study's graph: one artifact to be, before it is known whether it is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Node:
    """One artifact of a study.

    Attributes:
        name: Unique in the study ("tune/digits/base/16-shot/coop/atlas_csl/seed1").
        family: Name without the parameters that tell variants apart; older versions are looked for under it.
        config: All the configuration that the stage reads, and no other.
        inputs: Role → node.
        modules: Root modules of the code it runs.
        runtime: What finds its files on this machine; no part of the key.
    """

    stage: str
    name: str
    family: str
    config: dict[str, Any]
    inputs: dict[str, Node]
    modules: tuple[str, ...]
    runtime: dict[str, Any] = field(default_factory=dict)

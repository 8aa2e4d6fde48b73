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
        roots: Where the code it runs begins: "package.module:name" of the stage, the method, the label source, ….
        runtime: What finds its files on this machine; no part of the key.
    """

    stage: str
    name: str
    family: str
    config: dict[str, Any]
    inputs: dict[str, Node]
    roots: tuple[str, ...]
    runtime: dict[str, Any] = field(default_factory=dict)

    @property
    def lane(self) -> str:
        """What making it takes: "network", "processors" or "device"; its runtime may say so."""
        given: str | None = self.runtime.get("lane")
        if given is not None:
            return given
        if self.stage == "fetch" and not (self.config["source"] or {}).get("generator"):
            return "network"  # a dataset that is drawn takes a processor
        return "processors" if self.stage in _ON_PROCESSORS else "device"


# Stages that read and decode files, and run no model; the others use the device.
_ON_PROCESSORS = frozenset({"fetch", "index", "pixels", "csl", "isl", "aggregate"})

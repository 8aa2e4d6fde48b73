"""Manifests: what an artifact is, what it was made from, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

MANIFEST = "manifest.json"
# A manifest that was tampered with counts as absent: every field has its type, and there are no others.
_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class ArtifactRef:
    """A small reference to an artifact: what tasks exchange instead of tensors."""

    stage: str
    key: str
    digest: str


@dataclass(frozen=True)
class Output:
    """One file of an artifact: its hash, and the size and time that let a hit be checked without reading it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Spent:
    """A job's share of what was spent on several together, in seconds, and how many others there were."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    trained_with: int = 0


NOTHING_SPENT = Spent()


@dataclass(frozen=True)
class Accepted:
    """That an artifact was entered under another key, because the code that makes it now gives the same.

    Attributes:
        when: Seconds since the epoch.
        from_key: The key that it was made under.
        checked: Names of the artifacts that were remade, all of them equal bit for bit.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    when: float
    from_key: str
    checked: list[str]


@dataclass(frozen=True)
class Manifest:
    """What an artifact is, what it was made from and what it cost.

    Attributes:
        key: SHA-256 of `key_parts`.
        digest: SHA-256 over the outputs' names and hashes; what stages further down depend on.
        name: The human name of the node ("tune/digits/…").
        family: Name without the parameters that tell variants apart; versions of one node share it.
        key_parts: Stage, configuration, input digests, code digest and source fingerprint.
        trained_with: Other runs of the stack that it was trained in; their number decides its last bits.
        accepted: Where it was not made under this key.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    stage: str
    key: str
    digest: str
    name: str
    family: str
    key_parts: dict[str, Any]
    outputs: dict[str, Output]
    wall_seconds: float
    cpu_seconds: float
    created: float
    host: str
    versions: dict[str, str] = field(default_factory=dict)
    trained_with: int = 0
    accepted: Accepted | None = None

    @property
    def ref(self) -> ArtifactRef:
        return ArtifactRef(self.stage, self.key, self.digest)

    @property
    def bytes(self) -> int:
        return sum(output.size for output in self.outputs.values())


_MANIFEST = TypeAdapter(Manifest)


def read_manifest(folder: Path | str) -> Manifest | None:
    """The manifest in an artifact's folder, or None where there is none that can be read."""
    try:
        with open(f"{folder}/{MANIFEST}", "rb", buffering=0) as stream:
            return _MANIFEST.validate_json(stream.readall())
    except (OSError, ValueError):
        return None

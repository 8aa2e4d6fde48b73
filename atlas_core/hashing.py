"""Canonical JSON and SHA-256, the ground that every key stands on."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_AS_THEY_ARE = frozenset({str, int, bool, type(None)})


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, UTF-8, shortest round-trip floats.

    Tuples count as lists and integral floats stay floats (`1.0` is not `1`).

    Raises:
        TypeError: The value holds something that JSON has no form for.
        ValueError: The value holds NaN or an infinity, which are equal to nothing and to no text.
    """
    return _ENCODER.encode(_plain(value))


def sha256_of(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def artifact_key(key_parts: Mapping[str, Any]) -> str:
    """Key (hex) of an artifact: SHA-256 of its key parts.

    In a store of version 0.1 `code` is a digest for each module, which count as one; `atlas store verify` reads it.
    """
    code = key_parts.get("code")
    return sha256_of({**key_parts, "code": sha256_of(code)} if isinstance(code, dict) else dict(key_parts))


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if type(value) in _AS_THEY_ARE:  # nearly all of them: a study has thousands of keys to make
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys must be strings, got {sorted(map(repr, value))}")
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no canonical form")
    if isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form: {value!r}")

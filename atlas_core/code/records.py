"""What a code digest was made of, kept once in the store for `atlas why`: `<store>/.code/<digest>.json`."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from atlas_core.code.closure import Sources

FOLDER = ".code"
_FORM = TypeAdapter(dict[str, str])


def record_code(store: Path, code: Sources, roots: Sequence[str]) -> None:
    """Keep the definitions behind a digest, unless they are there; a store that cannot be written to goes without."""
    digest = code.digest(roots)
    file = store / FOLDER / f"{digest}.json"
    if file in code.recorded:
        return
    code.recorded.add(file)
    if recorded_code(store, digest) is None:
        # Not brought to the disk at once, as artifacts are: one that a power cut took is recorded again.
        temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.part")
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(code.definitions(roots), indent=0, sort_keys=True))
            os.replace(temporary, file)


def recorded_code(store: Path, digest: str) -> dict[str, str] | None:
    """Definition → digest of its text, or None where that was not recorded or cannot be read."""
    try:
        return _FORM.validate_json((store / FOLDER / f"{digest}.json").read_bytes())
    except (OSError, ValidationError):
        return None

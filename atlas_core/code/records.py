"""What a code digest was made of, kept once in the store for `atlas why`: `<store>/.code/<digest>.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from atlas_core.code.closure import Sources
from atlas_core.features.atomic import replacing
from atlas_core.store import writing

FOLDER = ".code"
_FORM = TypeAdapter(dict[str, str])


def record_code(store: Path, code: Sources, roots: Sequence[str]) -> None:
    """Keep the definitions behind a digest, unless they are there.

    Raises:
        AtlasError: The store cannot be written to.
    """
    file = store / FOLDER / f"{code.digest(roots)}.json"
    if file in code.recorded:
        return
    if not file.is_file():
        with writing(store), replacing(file) as temporary:
            temporary.write_text(json.dumps(code.definitions(roots), indent=0, sort_keys=True))
    code.recorded.add(file)


def recorded_code(store: Path, digest: str) -> dict[str, str] | None:
    """Definition → digest of its text, or None where that was not recorded or cannot be read."""
    try:
        return _FORM.validate_json((store / FOLDER / f"{digest}.json").read_bytes())
    except (OSError, ValidationError):
        return None

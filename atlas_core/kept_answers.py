"""Answers that take long to find, kept between processes: JSON files under the home, each named by what decides it.

A file that is missing, damaged or of another form counts as absent, and a home that cannot be written to costs time
and nothing else.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from atlas_core.features.atomic import replacing
from atlas_core.hashing import sha256_of
from atlas_core.placement import default_home

T = TypeVar("T")


def read_answer(name: str, decided_by: object, form: TypeAdapter[T]) -> T | None:
    """The answer that was kept, or None.

    Args:
        name: What it is ("code"); part of the file's name.
        decided_by: All that the answer depends on, in JSON types.
        form: What it has to be.
    """
    try:
        return form.validate_json(_place(name, decided_by).read_bytes())
    except (OSError, ValidationError):
        return None


def keep_answer(name: str, decided_by: object, form: TypeAdapter[T], answer: T) -> None:
    """Keep an answer, in place of an earlier one."""
    with suppress(OSError), replacing(_place(name, decided_by)) as file:
        file.write_bytes(form.dump_json(answer))


def _place(name: str, decided_by: object) -> Path:
    return default_home() / "kept" / f"{name}-{sha256_of(decided_by)[:16]}.json"

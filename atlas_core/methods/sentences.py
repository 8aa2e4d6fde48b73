"""Sentences that a language model wrote about each class, in the JSON form of CoPrompt's authors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atlas_core.budgets import LIST_BYTES
from atlas_core.documents import parse_json, read_text
from atlas_core.errors import AtlasError
from atlas_core.hashing import file_sha256
from atlas_core.registry import unknown_name


def read_sentences(path: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Sentences of these classes, as K rows with one sentence a class.

    Args:
        path: JSON `{"class name": ["sentence", …], …}`; `_` in a name counts as a space. K is the smallest
            number of sentences that one of the classes has; further ones are left out.
        names: Class names as they stand in a prompt.

    Raises:
        AtlasError: The file cannot be read or has another form, or a class is missing in it.
    """
    try:
        by_name = _checked(path, parse_json(read_text(path, LIST_BYTES), str(path)))
    except (OSError, ValueError) as error:
        raise _malformed(path, str(error)) from error
    for name in names:
        if name not in by_name:
            raise unknown_name(f"class of {path.name}", name, by_name)
    return list(zip(*(by_name[name] for name in names), strict=False))


def sentences_digest(path: Path) -> str:
    """SHA-256 of a sentences file, for keys.

    Raises:
        AtlasError: There is no such file.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise _malformed(path, str(error)) from error


def _checked(path: Path, content: object) -> dict[str, list[str]]:
    if not isinstance(content, dict) or not content:
        raise _malformed(path, "it holds no mapping of class names")
    for name, sentences in content.items():
        if not isinstance(sentences, list) or not sentences:
            raise _malformed(path, f"class {name!r} has no list of sentences")
        if not all(isinstance(each, str) and each.strip() for each in sentences):
            raise _malformed(path, f"class {name!r} has an entry that is no sentence")
    by_name: dict[str, list[str]] = {}
    for name, sentences in content.items():
        if by_name.setdefault(name.replace("_", " "), sentences) != sentences:
            raise _malformed(path, f"class {name!r} stands in it twice, with and without `_`")
    return by_name


def _malformed(path: Path, what: str) -> AtlasError:
    return AtlasError(
        f"the sentences file {path} cannot be used: {what}",
        expected='JSON of the form {"class name": ["sentence", …]}',
        fix="correct `sentences_file`, or leave it out: the ImageNet templates then stand in",
    )

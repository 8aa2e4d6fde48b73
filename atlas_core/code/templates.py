"""What is kept of a definition: its text without what computes nothing, and what that text refers to.

A text does not depend on other files, so it is made once per version of a file. What only other files can tell (whether
a name is an exception's class, say) is left open as a choice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

# Of a name: an exception's class; a `Registry`; a class in whose body annotations decide what its objects are.
Question = Literal["exception", "registry", "fields"]


@dataclass(frozen=True)
class Choice:
    """One of two texts, by what a name turns out to be."""

    question: Question
    about: str
    yes: Template
    no: Template


@dataclass(frozen=True)
class Template:
    """A text with places for references and choices.

    Attributes:
        text: Digest of the text, in which references are `@0`, `@1`, … and choices `?0`, `?1`, ….
        refs: "name.attribute…" as it stands in the module, or "module|attribute…" where it was imported on the spot.
    """

    text: str
    refs: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Definition:
    """What a top-level name is bound to.

    Attributes:
        is_class: Whether it is a class.
        bases: The bases of a class.
        has_fields: Whether annotations in a class's body count whatever its bases are.
        made_by: What is called to make a value; empty for anything but a call.
    """

    template: Template
    is_class: bool = False
    bases: tuple[str, ...] = ()
    has_fields: bool = False
    made_by: str = ""


@dataclass(frozen=True)
class Effect:
    """A top-level statement that does something when the module is imported.

    Attributes:
        fills: Where it only adds to registries: their names.
    """

    template: Template
    fills: tuple[str, ...] = ()


@dataclass(frozen=True)
class Module:
    """A source file, read.

    Attributes:
        imports: Name → "module|attribute"; the attribute is empty where a module is imported.
        definitions: Name → what it is bound to.
        effects: In the order of the file.
        loads: Modules that are imported for what this does, and not for a name; those of `from … import *` too.
        stars: Modules whose names are all imported.
    """

    imports: dict[str, str]
    definitions: dict[str, Definition]
    effects: tuple[Effect, ...]
    loads: tuple[str, ...]
    stars: tuple[str, ...]


def text_digest(text: str) -> str:
    """32 hex digits of SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

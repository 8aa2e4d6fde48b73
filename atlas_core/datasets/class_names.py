"""Class names of one's own data: those given, those of WordNet ids, and what is odd about names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import prompt_name
from atlas_core.datasets.reading import Oddity, first_few
from atlas_core.errors import AtlasError

_WORDNET_ID = re.compile(r"[nN]\d{8}")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
# What spreadsheets, YAML and programs write for "nothing" or for a yes-or-no question.
_NOTHING = (
    "yes no true false on off y n none null nan nil na n/a unknown undefined other others unlabeled unlabelled "
    "class classes images image data"
)
_SAYS_NOTHING = frozenset(_NOTHING.split())


def class_titles(spec: DatasetSpec, folder: Path, values: Sequence[Any]) -> tuple[dict[Any, str], str]:
    """The name of each class, and where the names are from.

    Args:
        values: The classes as the layout has them (folder names, cells of a table).
        folder: The dataset's folder, where `classnames.txt` may say what WordNet ids mean.

    Raises:
        AtlasError: `options.class_names` names other classes or gives no name, WordNet ids have no names, or
            two classes have one.
    """
    twice = [value for position, value in enumerate(values) if value in values[:position]]
    if twice:
        raise AtlasError(
            f"dataset {spec.name!r}: two classes have the same name {str(twice[0])!r}",
            expected="a name of its own for each class",
            fix="correct the names, or merge the classes",
        )
    given = _given_names(spec, values)
    titles = {value: given.get(str(value), str(value)) for value in values}
    source = "options.class_names" if given else ""
    ids = [value for value in values if _WORDNET_ID.fullmatch(titles[value])]
    if ids:
        known = _names_of_ids(spec, folder, [titles[value] for value in ids])
        titles |= {value: known[titles[value].lower()] for value in ids}
        source = "classnames.txt"
    distinct_names(spec, titles)
    return titles, source


def sorted_classes(values: Iterable[Any]) -> list[Any]:
    """The distinct values, numbers (also written as text) by value and else by text."""
    distinct = set(values)
    if all(str(value).isdecimal() for value in distinct):
        return sorted(distinct, key=lambda value: int(str(value)))
    return sorted(distinct, key=str)


def _given_names(spec: DatasetSpec, values: Sequence[Any]) -> dict[str, str]:
    given: Any = spec.options.get("class_names", {})
    known = {str(value) for value in values}
    # A folder called 12 is a number in YAML.
    if not isinstance(given, Mapping) or {str(each) for each in given} - known:
        raise AtlasError(
            f"dataset {spec.name!r}: options.class_names = {given!r}",
            expected=f"a mapping from class to name; the classes are {first_few(values, 10)}",
        )
    for each, name in given.items():
        if name is None or isinstance(name, bool) or isinstance(each, bool) or each is None:
            raise AtlasError(
                f"dataset {spec.name!r}: options.class_names says {{{each}: {name}}}, which is no name: "
                "YAML reads null, true and false as values",
                expected="a text for each class",
                fix='put names in quotes, as in {"yes": "a tumour", "no": "no tumour", c: "null"}',
            )
    return {str(each): str(name) for each, name in given.items()}


def _names_of_ids(spec: DatasetSpec, folder: Path, ids: Sequence[str]) -> dict[str, str]:
    from atlas_core.datasets.readers.wordnet_names import class_names_file, read_wordnet_names

    known = read_wordnet_names(spec, folder) if class_names_file(folder) else {}
    absent = [each for each in ids if each.lower() not in known]
    if absent:
        raise AtlasError(
            f"dataset {spec.name!r}: {len(absent)} classes are WordNet ids and have no names: {first_few(absent)}",
            expected=f"names to prompt with, in {folder / 'classnames.txt'} ('n01440764 tench', a line an id, sorted)",
            fix="put that file there (`atlas datasets fetch imagenet` brings the one of ImageNet's 1,000 classes), "
            "or give the names in a description's options.class_names",
        )
    return known


def distinct_names(spec: DatasetSpec, titles: Mapping[Any, str]) -> None:
    """Refuse classes of one's own data that would have the same prompt: no model could tell them apart.

    Published datasets are not asked: ImageNet's usual class names hold two pairs of equal ones.

    Raises:
        AtlasError: Two classes have one name ("red_fox" and "red fox" are one).
    """
    owner: dict[str, Any] = {}
    for value, title in titles.items():
        other = owner.setdefault(prompt_name(title), value)
        if other != value:
            raise AtlasError(
                f"dataset {spec.name!r}: classes {str(other)!r} and {str(value)!r} have the same name {title!r}",
                expected="a name of its own for each class",
                fix="correct options.class_names, or merge the classes",
            )


def odd_names(names: Iterable[str]) -> tuple[Oddity, ...]:
    """What is odd about class names: a prompt with them says nothing of what is in the picture."""
    listed = list(names)
    kinds = {
        "names-are-numbers": ("are bare numbers", is_number),
        "names-are-wordnet-ids": ("are WordNet ids", lambda name: bool(_WORDNET_ID.fullmatch(name))),
        "names-are-answers": (
            "say nothing of what is in the picture",
            lambda name: name.strip().casefold() in _SAYS_NOTHING,
        ),
        "names-are-codes": ("are codes without a word", _is_code),
    }
    found = []
    for kind, (what, holds) in kinds.items():
        odd = [name for name in listed if holds(name)]
        if odd:
            text = f"{len(odd)} of {len(listed)} class names {what}: {first_few(odd)}"
            found.append(Oddity(kind, text))
    return tuple(found)


def is_number(name: str) -> bool:
    """Whether a text is a number and nothing else."""
    return bool(_NUMBER.fullmatch(name.strip()))


def _is_code(name: str) -> bool:
    """Names of digits and marks, or a letter with digits ("c0", "A-17"): no word of two letters in them."""
    if is_number(name) or _WORDNET_ID.fullmatch(name):
        return False
    return any(c.isdigit() for c in name) and not re.search(r"[^\W\d_]{2}", name)

"""Which dataset is which: by where it is and what is in it, under a name that no other has.

A folder's own name is no identity: `a/birds` and `b/birds` are two datasets, every table may be called `labels.csv`,
and a folder called `eurosat` need not be EuroSAT.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec, plain_name, published_spec
from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of
from atlas_core.resources import data_path

# Rows that stand for an average have this in the place of a dataset's name.
_AVERAGE = "average"


@dataclass(frozen=True)
class Identity:
    """A dataset: where its files are, and what is in them.

    Attributes:
        name: As it is described: of the folder, the table or the description.
        place: Absolute path of one's own data; for others the folder's name below the data root.
        content: Digest that tells apart what lies (or lay) at one place.
        catalogue: Whether it is the catalogue's dataset of that name, or drawn by a generator under it.
    """

    name: str
    place: str
    content: str = ""
    catalogue: bool = False


def identity_of(spec: DatasetSpec) -> Identity:
    """The identity of a dataset that was not read yet: what its description says stands for its content."""
    described = spec.model_dump(
        mode="json", include={"layout", "image_folder", "split_file", "options", "templates"}
    )
    drawn = spec.source is not None and spec.source.generator is not None
    return Identity(
        spec.name, place_of(spec), sha256_of(described), drawn or published_spec(spec) is not None
    )


def place_of(spec: DatasetSpec) -> str:
    """Where a dataset's files are or come from; never below which data root."""
    place = Path(spec.folder).expanduser()
    if isinstance(file := spec.options.get("file"), str):
        place /= file
    if spec.source is not None and spec.source.parquet:
        place = Path(spec.source.parquet).expanduser()
    # Names of files are bytes; what of them is no UTF-8 can neither be hashed as text nor stand in a table.
    return os.fsencode(os.path.normpath(place)).decode("utf-8", "backslashreplace")


def study_datasets(entries: Iterable[str]) -> dict[str, DatasetSpec]:
    """What a study names → the dataset's description, under a name that no other dataset of the study has.

    Raises:
        AtlasError: Two descriptions have one name and one place, and differ otherwise.
    """
    specs = {entry: dataset_spec(entry) for entry in entries}
    of_entry = {entry: identity_of(spec) for entry, spec in specs.items()}
    identities = list(dict.fromkeys(of_entry.values()))
    _refuse_one_place(of_entry)
    names = dict(zip(identities, distinct_names(identities), strict=True))
    return {
        entry: spec
        if names[of_entry[entry]] == spec.name
        else spec.model_copy(update={"name": names[of_entry[entry]]})
        for entry, spec in specs.items()
    }


def describe_datasets(entries: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What a study's result tables keep of its datasets, by their names in the study.

    Each has its `plain_name` (as it is described), its `place` and, where it is a published dataset, the name
    `published` and the published `counts`.
    """
    described = {}
    for entry, spec in study_datasets(entries).items():
        plain = dataset_spec(entry)
        published = published_spec(plain)
        described[spec.name] = {
            "plain_name": plain.name,
            "place": place_of(plain),
            "published": published.name if published else None,
            "counts": dict(published.counts) if published else {},
        }
    return described


def same_dataset(entries: Sequence[str]) -> tuple[str, str] | None:
    """Two entries that name one dataset (`a/birds` and `./a/birds`), or None."""
    first: dict[tuple[Identity, str], str] = {}
    for entry in entries:
        identity = identity_of(dataset_spec(entry))
        # Links are followed here alone: a dataset is called by the name that it was given.
        found = first.setdefault((_at(identity, ""), os.path.realpath(identity.place)), entry)
        if found != entry:
            return found, entry
    return None


def _at(identity: Identity, place: str) -> Identity:
    return Identity(identity.name, place, identity.content, identity.catalogue)


def _refuse_one_place(of_entry: Mapping[str, Identity]) -> None:
    first: dict[tuple[str, str], str] = {}
    for entry, identity in of_entry.items():
        other = first.setdefault((identity.name, identity.place), entry)
        if of_entry[other] != identity:
            raise AtlasError(
                f"two descriptions of {identity.place} are both named {identity.name!r}: {other} and {entry}",
                expected="a name of its own for each dataset of a study",
                fix="change `name` in one of the two",
            )


def distinct_names(identities: Sequence[Identity]) -> list[str]:
    """A name for each of several different datasets: its own, or with as many of its folders as tell it apart.

    A name of the catalogue stands for the catalogue's dataset alone, and "average" for no dataset. Of one place at
    different times the first keeps the name.
    """
    candidates = [list(_candidates(each)) for each in identities]
    level = [0] * len(identities)
    while True:
        names = [each[at] for each, at in zip(candidates, level, strict=True)]
        moved = False
        for position, apart in _to_rename(identities, names):
            last = len(candidates[position]) - 1
            moved |= level[position] < last
            level[position] = min(level[position] + 1, last) if apart else last
        if not moved:
            return names


def _to_rename(identities: Sequence[Identity], names: Sequence[str]) -> Iterator[tuple[int, bool]]:
    """Positions whose names do not do, and whether their places tell them apart."""
    holders: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        holders[name].append(position)
    for name, positions in holders.items():
        apart = len({identities[each].place for each in positions}) > 1
        keepers = [] if apart else positions[:1]
        if name in reserved_names():
            keepers = [each for each in positions if identities[each].catalogue][:1]
            apart = apart or not keepers
        yield from ((each, apart) for each in positions if each not in keepers)


def _candidates(identity: Identity) -> Iterator[str]:
    """Names from the shortest on; the last is of this dataset alone."""
    yield identity.name
    if not identity.catalogue and os.path.isabs(identity.place):
        folders = [plain_name(part) for part in Path(identity.place).parent.parts[1:]]
        for count in range(1, len(folders) + 1):
            yield "-".join([*folders[-count:], identity.name])
    yield f"{identity.name}-{dataset_id(identity.place, identity.content)[:6]}"


def dataset_id(place: str, content: str) -> str:
    """A dataset's identity as 16 hexadecimal digits."""
    return sha256_of([place, content])[:16]


@lru_cache(maxsize=1)
def reserved_names() -> Collection[str]:
    """Names that no dataset of one's own has."""
    return frozenset({_AVERAGE, *(path.stem for path in data_path("catalogue").glob("*.yaml"))})

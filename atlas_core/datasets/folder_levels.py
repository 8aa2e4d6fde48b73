"""What each level of folders above the images means: a split, a group that is not asked for, or a class.

    birds/robin/1.jpg                   class
    birds/Training/robin/1.jpg          split, class
    birds/robin/test/1.jpg              class, split
    birds/images/robin/1.jpg            group, class (a lone folder can be no class)

Where the folders allow one reading, it is taken; where they allow several, as domains above classes do
(`photo/dog`, `sketch/dog`: are photo and sketch the classes, or dog?), it is for their owner to say which.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Split
from atlas_core.datasets.reading import first_few, two_readings
from atlas_core.datasets.split_words import SPLIT_WORDS, split_word
from atlas_core.errors import AtlasError

Level = Literal["split", "group", "class"]
LEVELS: tuple[Level, ...] = ("split", "group", "class")
Folders = tuple[str, ...]


@dataclass(frozen=True)
class FolderLevels:
    """The meaning of each level, from the top.

    Attributes:
        levels: Folders further down are parts of the class. Two class levels make one name: h/hangar/indoor is
            "hangar indoor"; images may lie at either.
        splits: Folder → split, for the level that is one.
    """

    levels: tuple[Level, ...]
    splits: Mapping[str, Split]

    def place(self, folders: Folders) -> tuple[str, Split | None] | None:
        """(class, split) of an image in these folders; None where it is beside the classes or splits."""
        names, split = [], None
        for folder, level in zip(folders, self.levels, strict=False):
            if level == "class":
                names.append(folder)
            elif level == "split":
                split = self.splits.get(folder)
        if not names or ("split" in self.levels and split is None):
            return None
        return " ".join(names), split

    def classes(self, places: Iterable[Folders]) -> list[str]:
        """The classes of images in these folders, sorted."""
        return sorted({found[0] for each in places if (found := self.place(each)) is not None})


def folder_levels(spec: DatasetSpec, root: Path, places: Iterable[Folders]) -> FolderLevels:
    """The levels of a tree: those of `options.levels`, else the only ones that its folders allow.

    Args:
        places: The folders below `root` that hold images directly, each as the names that lead to it.

    Raises:
        AtlasError: The folders have two readings (both are named), or none; or the options are wrong.
    """
    below = {each for each in places if each}
    given = _given_levels(spec)
    if given is not None:
        return FolderLevels(given, _splits(spec, given, below))
    finder = _Finder(spec, root)
    levels = finder.levels(below)
    return FolderLevels(levels, _splits(spec, levels, below))


@dataclass(frozen=True)
class _Finder:
    spec: DatasetSpec
    root: Path

    def levels(self, below: set[Folders]) -> tuple[Level, ...]:
        above: list[Level] = []
        rest = below
        while rest:
            names, direct = {each[0] for each in rest}, {each[0] for each in rest if len(each) == 1}
            splits = _split_folders(names - direct, self.spec)
            if splits:
                if set(splits) < names:
                    raise self._beside_splits(above, below, splits, names)
                above.append("split")
                return (*above, *self._classes(above, below, {each[1:] for each in rest}))
            if names == direct and set(_split_folders(names, self.spec)) == names:
                raise self._without_classes(names)
            if len(names) > 1 or direct:
                break
            above.append("group")
            rest = {each[1:] for each in rest}
        return (*above, *self._classes(above, below, rest))

    def _classes(self, above: Sequence[Level], below: set[Folders], rest: set[Folders]) -> tuple[Level, ...]:
        """The levels from the class on, of what is left below splits and groups."""
        rest = {each for each in rest if each}
        if not rest:
            return ("class",)
        shortest = min(map(len, rest))
        if "split" not in above and {len(each) for each in rest} == {2}:
            under = {each[1] for each in rest}
            if set(_split_folders(under, self.spec)) == under:
                return ("class", "split")
        kinds: list[Level] = []
        found: list[tuple[Level, ...]] = []
        for depth in range(shortest):
            names = {each[depth] for each in rest}
            are_splits = "split" not in (*above, *kinds) and set(_split_folders(names, self.spec)) == names
            if len(names) > 1 and not are_splits:
                found.append((*kinds, "class"))
            kinds.append("split" if are_splits else "group")
        for levels in tuple(found) or (("class",),):
            if len(levels) == shortest and _is_cut_further(rest, shortest):
                found.append((*levels, "class"))
        if len(found) > 1:
            raise self._several([(*above, *levels) for levels in found], below)
        return found[0] if found else ("class",)

    def _several(self, found: Sequence[tuple[Level, ...]], below: set[Folders]) -> AtlasError:
        readings = []
        for levels in found:
            tree = FolderLevels(levels, _splits(self.spec, levels, below))
            classes = tree.classes(below)
            readings.append((_option(levels), f"{len(classes)} classes: {first_few(classes)}"))
        names = sorted({each[0] for each in below})
        fix = _advice(self.spec, self.root, found[-1])
        if not any("split" in levels for levels in found):
            fix += f"; or give one of the folders, such as image_folder:{self.root / names[0]}"
            fix += "; folders that are splits are named under `options.splits: {FOLDER: train, FOLDER: test}`"
        return two_readings(
            f"dataset {self.spec.name!r}: what the folders in {self.root} mean", readings, fix
        )

    def _beside_splits(
        self, above: Sequence[Level], below: set[Folders], splits: Mapping[str, Split], names: set[str]
    ) -> AtlasError:
        followed: tuple[Level, ...] = (*above, "split", "class")
        plain: tuple[Level, ...] = (*above, "class")
        depth = len(above) + 1
        known = {each for each in below if each[depth - 1] in splits}
        classes = FolderLevels(followed, splits).classes(known)
        others = sorted(names - set(splits))
        kept = f"the splits {', '.join(sorted(splits))} with {len(classes)} classes ({first_few(classes)})"
        readings = [
            (_option(followed), f"{kept} and leaves out {first_few(others)}"),
            (_option(plain), f"{len(names)} classes: {first_few(sorted(names))}"),
        ]
        fix = _advice(self.spec, self.root, followed)
        if len(others) == 1:
            fix += f"; or move {others[0]} out of {self.root}"
        return two_readings(
            f"dataset {self.spec.name!r}: what the folders in {self.root} mean", readings, fix
        )

    def _without_classes(self, names: set[str]) -> AtlasError:
        return AtlasError(
            f"dataset {self.spec.name!r}: {' and '.join(sorted(names))} in {self.root} hold images and no "
            "class folders",
            expected="one folder a class below each split",
            fix="sort the images into class folders, or list them in a table with the columns path, class and split; "
            f"where these names are classes: {_advice(self.spec, self.root, ('class',))}",
        )


def _is_cut_further(rest: set[Folders], depth: int) -> bool:
    """Whether some folder at a depth, where others hold images, holds several folders with images and none itself."""
    direct = {each for each in rest if len(each) == depth}
    further: dict[Folders, set[str]] = {}
    for each in rest:
        if len(each) > depth and each[:depth] not in direct:
            further.setdefault(each[:depth], set()).add(each[depth])
    return bool(direct) and any(len(names) > 1 for names in further.values())


def _split_folders(names: set[str], spec: DatasetSpec) -> dict[str, Split]:
    """Folder → split for those of the names that are splits; nothing without a training or test set among them."""
    given = _given_splits(spec)
    splits = {name: split for name in sorted(names) if (split := given.get(name) or split_word(name))}
    return splits if {"train", "test"} & set(splits.values()) else {}


def _splits(spec: DatasetSpec, levels: Sequence[Level], below: set[Folders]) -> dict[str, Split]:
    if "split" not in levels:
        return {}
    depth = levels.index("split")
    names = {each[depth] for each in below if len(each) > depth}
    given = _given_splits(spec)
    splits = {name: split for name in sorted(names) if (split := given.get(name) or split_word(name))}
    twice = [name for name in splits if list(splits.values()).count(splits[name]) > 1 and name not in given]
    if twice:
        raise AtlasError(
            f"dataset {spec.name!r}: two folders for one split: {', '.join(twice)}",
            expected="one folder for each split",
            fix="name those that are meant: options.splits: {FOLDER: train, FOLDER: test}",
        )
    return splits


def _given_splits(spec: DatasetSpec) -> dict[str, Split]:
    given: Any = spec.options.get("splits", {})
    known = set(SPLIT_WORDS.values())
    if not isinstance(given, Mapping) or set(map(str, given.values())) - known:
        raise AtlasError(
            f"dataset {spec.name!r}: options.splits = {given!r}",
            expected="a mapping from folder to train, val or test",
        )
    return {str(folder): split for folder, split in given.items()}


def _given_levels(spec: DatasetSpec) -> tuple[Level, ...] | None:
    given: Any = spec.options.get("levels")
    if given is None:
        return None
    if (
        not isinstance(given, list)
        or any(each not in LEVELS for each in given)
        or "class" not in given
        or given.count("split") > 1
    ):
        raise AtlasError(
            f"dataset {spec.name!r}: options.levels = {given!r}",
            expected="a list of split, group and class from the top folder down, such as [split, class]",
        )
    return tuple(given)


def _option(levels: Sequence[Level]) -> str:
    return f"options.levels: [{', '.join(levels)}]"


def _advice(spec: DatasetSpec, root: Path, levels: Sequence[Level]) -> str:
    """How to choose a reading, as a description that can be copied into a file."""
    options = {key: value for key, value in spec.options.items() if key != "levels"}
    plain = "".join(f", {key}: {json.dumps(value)}" for key, value in options.items())
    return (
        f"write the one that is meant into a description, {spec.name}.yaml, and name that file as the dataset: "
        f"{{name: {spec.name}, layout: image_folder, folder: {json.dumps(str(root))}, "
        f"options: {{levels: [{', '.join(levels)}]{plain}}}}}"
    )

"""What a dataset is once read: labelled image paths in a fixed order, and the cuts made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from atlas_core.errors import AtlasError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image.

    Args:
        path: POSIX path relative to the dataset's folder; it is the image's identity everywhere.
        label: 0-based class index.
        class_name: The class's published name (may hold `_`; see `prompt_name`).
        split: The published split that the image belongs to.
    """

    path: str
    label: int
    class_name: str
    split: Split


@dataclass(frozen=True)
class DatasetIndex:
    """A dataset's images.

    Args:
        name: Catalogue name.
        root: The dataset's own folder, which item paths are relative to.
        items: In the order of the split file: few-shot sampling depends on it.
        class_names: By label.
        class_ids: By label, what tells a class from others of its name in every dataset that has it (ImageNet's WordNet
            ids); empty where the layout knows none.
    """

    name: str
    root: Path
    items: tuple[Item, ...]
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...] = ()

    @cached_property
    def _positions(self) -> dict[Split, tuple[int, ...]]:
        found: dict[Split, list[int]] = {split: [] for split in SPLITS}
        for position, item in enumerate(self.items):
            found[item.split].append(position)
        return {split: tuple(positions) for split, positions in found.items()}

    def positions(self, split: Split) -> tuple[int, ...]:
        """Positions (into `items`) of one split, in order."""
        return self._positions[split]

    def path(self, item: Item) -> Path:
        """Where an item's image is on disk."""
        return self.root / item.path


def prompt_name(class_name: str) -> str:
    """A class name as it is put into a prompt: `_` becomes a space (protocol 1.0)."""
    return class_name.replace("_", " ")


def base_new_labels(n_classes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The labels of the base and of the new classes: the first ⌈n/2⌉ and the rest (protocol 2.3).

    Raises:
        AtlasError: Fewer than two classes, so that one side would be empty.
    """
    if n_classes < 2:
        raise AtlasError(
            f"{n_classes} class(es) cannot be cut into base and new", expected="at least two classes"
        )
    middle = -(-n_classes // 2)
    return tuple(range(middle)), tuple(range(middle, n_classes))


def differing_counts(published: Mapping[str, int], found: Mapping[str, int]) -> tuple[str, ...]:
    """Where numbers of images and classes are not the published ones ("test: 7499 here, 7500 published")."""
    return tuple(
        f"{what}: {found[what]} here, {count} published"
        for what, count in published.items()
        if found.get(what, count) != count
    )


def select(index: DatasetIndex, positions: Iterable[int], labels: Collection[int] | None) -> list[Item]:
    """Items at `positions` (order kept) whose label is among `labels`, relabelled 0.. by sorted label.

    `labels=None` keeps every class and its label.

    Raises:
        AtlasError: A label that the dataset does not have.
    """
    chosen = [index.items[position] for position in positions]
    if labels is None:
        return chosen
    unknown = sorted(set(labels) - set(range(len(index.class_names))))
    if unknown:
        raise AtlasError(
            f"label(s) {unknown[:5]} of dataset {index.name!r} do not exist",
            expected=f"labels from 0 to {len(index.class_names) - 1}",
        )
    new_label = {label: new for new, label in enumerate(sorted(set(labels)))}
    return [replace(item, label=new_label[item.label]) for item in chosen if item.label in new_label]


def select_class_names(index: DatasetIndex, labels: Collection[int] | None) -> tuple[str, ...]:
    """Class names that belong to the labels that `select` gives out, in its order."""
    return _of_labels(index.class_names, labels)


def select_class_ids(index: DatasetIndex, labels: Collection[int] | None) -> tuple[str, ...]:
    """Class ids that belong to the labels that `select` gives out, in its order; none where the dataset has none."""
    return _of_labels(index.class_ids, labels) if index.class_ids else ()


def _of_labels(values: tuple[str, ...], labels: Collection[int] | None) -> tuple[str, ...]:
    return values if labels is None else tuple(values[label] for label in sorted(set(labels)))

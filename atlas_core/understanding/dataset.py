"""What was understood of one dataset, as data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from atlas_core.datasets.catalogue import DatasetSpec, is_own
from atlas_core.datasets.class_names import odd_names
from atlas_core.datasets.items import SPLITS, prompt_name
from atlas_core.datasets.readers.base import Listing
from atlas_core.datasets.reading import Ignored, Oddity, Reading, first_few


@dataclass(frozen=True)
class LayoutFacts:
    """What a layout says, small enough to be kept.

    Attributes:
        class_names: By label.
        images: Split → images of each class, by label.
        reading: Why the layout is read so, and what was left out; None where only an index artifact is left.
    """

    class_names: tuple[str, ...]
    images: dict[str, tuple[int, ...]]
    reading: Reading | None = field(default=None)


FACTS_FORM = TypeAdapter(LayoutFacts)


def facts_of(listing: Listing) -> LayoutFacts:
    """The facts of what a reader found."""
    return counted(listing.class_names, [(item.split, item.label) for item in listing.items], listing.reading)


def counted(
    class_names: tuple[str, ...], places: list[tuple[str, int]], reading: Reading | None
) -> LayoutFacts:
    """The facts of images at (split, label)."""
    counts = Counter(places)
    labels = range(len(class_names))
    images: dict[str, tuple[int, ...]] = {
        split: tuple(counts[split, label] for label in labels) for split in SPLITS
    }
    return LayoutFacts(class_names, images, reading)


@dataclass(frozen=True)
class SmallestClass:
    """The class with the fewest images, in training where there are training images."""

    name: str
    images: int
    split: str


@dataclass(frozen=True)
class DatasetUnderstanding:
    """What was understood of a dataset.

    Attributes:
        name: What the study calls it.
        place: Its folder.
        layout: The layout's name.
        why: How the layout was read; empty where its folder is not here any more.
        class_names: By label.
        images: Images of each split.
        smallest: None where there are no images.
        template: The hand-written prompt.
        prompts: Of the first three classes, as they are encoded.
        ignored: What was left out.
        differences: From the published numbers ("test: 7499 here, 7500 published").
        oddities: What may not be meant.
    """

    name: str
    place: Path
    layout: str
    why: str
    class_names: tuple[str, ...]
    images: dict[str, int]
    smallest: SmallestClass | None
    template: str
    prompts: tuple[str, ...]
    ignored: tuple[Ignored, ...]
    differences: tuple[str, ...]
    oddities: tuple[Oddity, ...]

    def with_oddities(self, more: tuple[Oddity, ...]) -> DatasetUnderstanding:
        """The same with what else was found to be odd."""
        return replace(self, oddities=(*self.oddities, *more))


def understand_dataset(spec: DatasetSpec, place: Path, facts: LayoutFacts) -> DatasetUnderstanding:
    """Put together what a description and its layout's facts say.

    Args:
        place: The dataset's folder.
    """
    template = spec.template("coop")
    prompts = tuple(template.format(prompt_name(name)) for name in facts.class_names[:3])
    reading = facts.reading or Reading()
    images = {split: sum(counts) for split, counts in facts.images.items()}
    differences = _differences(spec, facts, images)
    return DatasetUnderstanding(
        name=spec.name,
        place=place,
        layout=spec.layout,
        why=reading.why,
        class_names=facts.class_names,
        images=images,
        smallest=_smallest(facts),
        template=template,
        prompts=prompts,
        ignored=reading.ignored,
        differences=differences,
        oddities=(
            *reading.oddities,
            *(odd_names(facts.class_names) if is_own(spec) else ()),
            *(
                Oddity("left-out", f"left out: {each.count} {each.what}")
                for each in reading.ignored
                if each.odd
            ),
            *_absent_classes(facts, images),
            *(Oddity("published-numbers", each) for each in differences),
        ),
    )


def _differences(spec: DatasetSpec, facts: LayoutFacts, images: dict[str, int]) -> tuple[str, ...]:
    found = {**images, "classes": len(facts.class_names)}
    return tuple(
        f"{name}: {found[name]} here, {published} published"
        for name, published in spec.counts.items()
        if found.get(name, published) != published
    )


def _smallest(facts: LayoutFacts) -> SmallestClass | None:
    split = next((each for each in ("train", "test", "val") if any(facts.images[each])), None)
    if split is None:
        return None
    counts = facts.images[split]
    label = min(range(len(counts)), key=lambda each: counts[each])
    return SmallestClass(facts.class_names[label], counts[label], split)


def _absent_classes(facts: LayoutFacts, images: dict[str, int]) -> tuple[Oddity, ...]:
    found = []
    for split in ("train", "test"):
        counts = facts.images[split]
        absent = [name for name, count in zip(facts.class_names, counts, strict=True) if not count]
        if absent and images[split]:
            text = f"{len(absent)} classes have no {split} images: {first_few(absent)}"
            found.append(Oddity(f"classes-without-{split}", text))
    return tuple(found)

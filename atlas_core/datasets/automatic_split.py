"""A split for data that comes without one: by class, seeded, the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from atlas_core.datasets.items import SPLITS, Split
from atlas_core.errors import AtlasError

# The proportions in which the published splits cut the sets that had none of their own.
DEFAULT_FRACTIONS: Mapping[Split, float] = {"train": 0.5, "val": 0.2, "test": 0.3}


def automatic_split(
    class_of: Sequence[Any], seed: int = 0, fractions: Mapping[str, float] | None = None
) -> list[Split]:
    """A split for each image, class by class.

    Each class is shuffled by its own generator, so adding a class moves no image of another. A class of
    two images or more has at least one in train and in test, as far as their fractions are above zero.

    Args:
        class_of: Each image's class, in a fixed order.
        seed: Another seed gives another split.
        fractions: Share of train, val and test; the default is 0.5 / 0.2 / 0.3. Absent ones are 0.

    Raises:
        AtlasError: Fractions that are negative, unknown or do not sum to 1.
    """
    shares = _check(DEFAULT_FRACTIONS if fractions is None else fractions)
    members: dict[Any, list[int]] = {}
    for position, name in enumerate(class_of):
        members.setdefault(name, []).append(position)
    splits: list[Split] = ["train"] * len(class_of)
    for name, positions in members.items():
        random.Random(f"{seed}/{name}").shuffle(positions)
        start = 0
        for split, count in _counts(len(positions), shares).items():
            for position in positions[start : start + count]:
                splits[position] = split
            start += count
    return splits


def completed_split(
    given: Sequence[Split | None], class_of: Sequence[Any], options: Mapping[str, Any]
) -> list[Split]:
    """The splits of data whose own splits may lack a test set.

    Images without a split, or all marked as training, are split automatically; with training and validation
    images alone, the validation images are the test set, as is usual for such data.

    Args:
        given: Each image's own split, or None for all of them.
        class_of: Each image's class.
        options: The description's options (see `split_options`).

    Raises:
        AtlasError: Some images have a split and some have none, or the options are wrong.
    """
    known = set(given)
    if None in known and len(known) > 1:
        raise AtlasError("some images have a split and some have none", expected="a split for all or none")
    if known <= {None} or known == {"train"}:
        return automatic_split(class_of, *split_options(options))
    test: Split = "test"
    swap = "test" not in known
    return [test if swap and split == "val" else split for split in given if split is not None]


def split_reason(given: Collection[Split | None], options: Mapping[str, Any]) -> str:
    """What `completed_split` does with these splits, in words."""
    known = set(given)
    if known <= {None} or known == {"train"}:
        seed, fractions = split_options(options)
        shares = ", ".join(f"{share:.0%} {name}" for name, share in (fractions or DEFAULT_FRACTIONS).items())
        which = "there are no splits" if known <= {None} else "there is train alone"
        return f"{which}, so each class is split automatically ({shares}, seed {seed})"
    if "test" not in known:
        return "there is no test set, so val is it"
    return "the splits are those given"


def split_options(options: Mapping[str, Any]) -> tuple[int, Mapping[str, float] | None]:
    """The `seed` and `fractions` of a description's options.

    Raises:
        AtlasError: One of them has the wrong type.
    """
    seed, fractions = options.get("seed", 0), options.get("fractions")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise AtlasError(f"options.seed = {seed!r}", expected="an integer")
    if fractions is not None and not isinstance(fractions, Mapping):
        raise AtlasError(f"options.fractions = {fractions!r}", expected="{train: 0.5, val: 0.2, test: 0.3}")
    return seed, fractions


def _check(fractions: Mapping[Any, Any]) -> dict[Split, float]:
    numbers = all(isinstance(value, (int, float)) and value >= 0 for value in fractions.values())
    if set(fractions) - set(SPLITS) or not numbers or abs(sum(fractions.values()) - 1) > 1e-6:
        raise AtlasError(
            f"split fractions {dict(fractions)}", expected="shares of train, val and test that sum to 1"
        )
    return {split: float(fractions.get(split, 0.0)) for split in SPLITS}


def _counts(n: int, shares: Mapping[Split, float]) -> dict[Split, int]:
    counts = {split: int(n * share + 1e-9) for split, share in shares.items()}
    # What rounding down leaves goes to the largest remainders; ties go to train, then test.
    order: tuple[Split, ...] = ("train", "test", "val")
    by_remainder = sorted(order, key=lambda split: counts[split] - n * shares[split])
    for split in by_remainder[: n - sum(counts.values())]:
        counts[split] += 1
    for split in ("train", "test") if n >= 2 else ():
        largest = max(counts, key=lambda each: counts[each])
        if counts[split] == 0 and shares[split] > 0 and counts[largest] > 1:
            counts[largest] -= 1
            counts[split] += 1
        elif counts[split] == 0 and shares[split] > 0 and counts["val"]:
            counts["val"] -= 1
            counts[split] += 1
    return counts

"""Combinations of settings such that every two values of two settings meet in one of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Combination = dict[str, Any]
Pair = frozenset[tuple[str, int]]

_CANDIDATES = 40


def pairwise(settings: Mapping[str, Sequence[Any]], seed: int) -> list[Combination]:
    """Few combinations that hold every pair of values; which ones depends on the seed alone.

    Each is the best of some random ones around a pair that is still missing, so the first hold the most pairs.
    """
    draw = random.Random(seed)
    missing = dict.fromkeys(_all_pairs(settings))
    chosen: list[dict[str, int]] = []
    while missing:
        wanted = list(missing)
        candidates = [_around(draw.choice(wanted), settings, draw) for _ in range(_CANDIDATES)]
        best = max(candidates, key=lambda each: sum(pair in missing for pair in _pairs(each)))
        for pair in _pairs(best):
            missing.pop(pair, None)
        chosen.append(best)
    return [{name: settings[name][place] for name, place in each.items()} for each in chosen]


def _all_pairs(settings: Mapping[str, Sequence[Any]]) -> Iterator[Pair]:
    for first, second in combinations(settings, 2):
        for one in range(len(settings[first])):
            for other in range(len(settings[second])):
                yield frozenset({(first, one), (second, other)})


def _pairs(places: Mapping[str, int]) -> Iterator[Pair]:
    return (frozenset(pair) for pair in combinations(places.items(), 2))


def _around(pair: Pair, settings: Mapping[str, Sequence[Any]], draw: random.Random) -> dict[str, int]:
    fixed = dict(pair)
    return {name: fixed.get(name, draw.randrange(len(values))) for name, values in settings.items()}

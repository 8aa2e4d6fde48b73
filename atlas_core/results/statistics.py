"""Spread, intervals and tests for a handful of seeds and datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
ALPHA = 0.05
# Every resample of six values is 46,656 of them: up to there the bootstrap is enumerated, not sampled.
_ENUMERATED = 6
_RESAMPLES = 10_000
# Accuracies are quotients of counts: differences that are equal differ by rounding error alone.
_DECIMALS = 9

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A confidence interval for a mean.

    Attributes:
        kind: "student t" or "bootstrap".
        level: Confidence level, 0.95.
    """

    low: float
    high: float
    kind: Literal["student t", "bootstrap"]
    level: float = LEVEL

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Spread:
    """Mean and both standard deviations of a few values.

    Attributes:
        std: Standard deviation with ddof 0, the one that papers of the field print.
        std_sample: Standard deviation with ddof 1, the sample's own; None for one value.
    """

    n: int
    mean: float
    std: float
    std_sample: float | None


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviations.

    Raises:
        ValueError: There is no value.
    """
    array = _finite(values)
    sample = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(len(array), float(array.mean()), float(array.std()), sample)


def student_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student t interval of the mean, None for fewer than two values.

    For three seeds it is 2.7 times as wide as the field's 1.96·std/√n with ddof 0.
    """
    array = _finite(values)
    if len(array) < 2:
        return None
    from scipy import stats  # here, because it takes a second and every command knows this module

    half = float(stats.t.ppf((1 + level) / 2, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array)))
    mean = float(array.mean())
    return Interval(mean - half, mean + half, "student t", level)


def bootstrap_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Percentile bootstrap interval of the mean (Efron 1979), None for fewer than two values.

    Up to six values all resamples are enumerated. It never leaves the range of the values, so for three
    seeds it is too narrow: read it beside the t interval.
    """
    array = _finite(values)
    if len(array) < 2:
        return None
    return _percentiles(_resampled_means(array), level)


def two_level_bootstrap_interval(
    groups: Mapping[str, Sequence[float]], level: float = LEVEL
) -> Interval | None:
    """Bootstrap interval of the mean of group means: groups (datasets) are drawn, then values (seeds).

    None for fewer than two groups. The generator is seeded, so equal input gives an equal interval.
    """
    arrays = [_finite(values) for values in groups.values()]
    if len(arrays) < 2:
        return None
    sizes = np.array([len(array) for array in arrays])
    longest = int(sizes.max())
    padded = np.stack([np.pad(array, (0, longest - len(array))) for array in arrays])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(arrays), (_RESAMPLES, len(arrays)))
    of_drawn = sizes[drawn]
    places = (rng.random((*drawn.shape, longest)) * of_drawn[..., None]).astype(np.int64)
    # A group of fewer values than the longest takes as many draws as it has values.
    counted = np.arange(longest) < of_drawn[..., None]
    means = (padded[drawn[..., None], places] * counted).sum(axis=2) / of_drawn
    return _percentiles(means.mean(axis=1), level)


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test, exact up to 13 differences (50 without ties or zeros).

    Zeros are discarded (Wilcoxon's own rule); nothing but zeros gives p = 1.
    """
    array = np.round(_finite(differences), _DECIMALS)
    if not np.any(array):
        return 1.0
    from scipy import stats

    return float(min(1.0, stats.wilcoxon(array, zero_method="wilcox", method="auto").pvalue))


def smallest_signed_rank_p(n: int) -> float:
    """The smallest p that a two-sided signed-rank test of n differences can give: 2 of the 2ⁿ signs."""
    return min(1.0, 2.0 ** (1 - n))


def can_be_significant(sizes: Sequence[int], alpha: float = ALPHA) -> list[bool]:
    """Which tests of a family can become significant at all, by their numbers of differences.

    A test that cannot reach `alpha` alone is left out. Of those that remain at least one must be able to
    reach alpha / m, Holm's first step; otherwise none of the family can ever be significant.
    """
    alone = [smallest_signed_rank_p(n) <= alpha for n in sizes]
    m = sum(alone)
    first_step = any(
        smallest_signed_rank_p(n) <= alpha / m for n, able in zip(sizes, alone, strict=True) if able
    )
    return alone if first_step else [False] * len(sizes)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values (Holm 1979, "A simple sequentially rejective multiple test procedure")."""
    m = len(p_values)
    adjusted = [0.0] * m
    largest = 0.0
    for rank, place in enumerate(sorted(range(m), key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (m - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def wins_ties_losses(differences: Sequence[float], decimals: int = 2) -> tuple[int, int, int]:
    """How many differences are above, at and below zero; a tie is one that prints as zero."""
    printed = np.round(_finite(differences), decimals)
    return int((printed > 0).sum()), int((printed == 0).sum()), int((printed < 0).sum())


def _finite(values: Sequence[float]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise ValueError("statistics of no value")
    if not np.isfinite(array).all():
        raise ValueError("statistics of values that are not finite")
    return array


def _resampled_means(array: Floats) -> Floats:
    n = len(array)
    if n <= _ENUMERATED:
        places = np.indices((n,) * n).reshape(n, -1)
        return np.asarray(array[places].mean(axis=0))
    rng = np.random.default_rng(0)
    return np.asarray(array[rng.integers(0, n, (_RESAMPLES, n))].mean(axis=1))


def _percentiles(means: Floats, level: float) -> Interval:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), "bootstrap", level)

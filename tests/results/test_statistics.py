"""The statistics agree with scipy, with enumeration, and with cases worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atlas_core.results.statistics import (
    bootstrap_interval,
    can_be_significant,
    holm,
    signed_rank_p,
    smallest_signed_rank_p,
    spread,
    student_interval,
    two_level_bootstrap_interval,
    wins_ties_losses,
)

points = st.floats(-30, 30).map(lambda value: round(value, 2))


def test_both_standard_deviations_of_1_2_3():
    found = spread([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.std_sample) == (3, 2.0, 1.0)
    assert found.std == pytest.approx(math.sqrt(2 / 3))


def test_one_value_has_no_sample_deviation_and_no_interval():
    assert spread([4.0]).std == 0.0
    assert spread([4.0]).std_sample is None
    assert student_interval([4.0]) is None
    assert bootstrap_interval([4.0]) is None
    assert two_level_bootstrap_interval({"a": [1.0, 2.0]}) is None


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_nothing_and_nothing_finite_are_refused(values):
    with pytest.raises(ValueError, match="statistics of"):
        spread(values)


def test_the_t_interval_of_1_2_3_by_hand():
    found = student_interval([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.302653, standard error 1 / sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert not found.excludes_zero


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(st.lists(points, min_size=2, max_size=12))
def test_the_t_interval_is_scipys(values):
    found = student_interval(values)
    if np.std(values) == 0:
        assert found.low == found.high
    else:
        expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_fields_interval_is_2_7_times_too_narrow_for_three_seeds():
    values = [61.2, 63.9, 62.4]
    field = 2 * 1.96 * np.std(values) / math.sqrt(3)
    ours = student_interval(values)
    assert (ours.high - ours.low) / field == pytest.approx(2.69, abs=0.01)


@pytest.mark.parametrize("values", [[1.0, 5.0], [0.3, -1.2, 2.5], [1.0, 2.0, 4.0, 8.0, 16.0]])
def test_the_bootstrap_of_few_values_is_the_whole_enumeration(values):
    means = [np.mean(each) for each in itertools.product(values, repeat=len(values))]
    found = bootstrap_interval(values)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_the_bootstrap_of_more_values_is_scipys_within_sampling_error():
    values = np.random.default_rng(3).normal(1.0, 2.0, 20)
    found = bootstrap_interval(values)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05)
    assert found == bootstrap_interval(values)


@given(st.lists(points, min_size=2, max_size=6))
def test_a_bootstrap_interval_stays_within_the_values(values):
    found = bootstrap_interval(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_two_levels_without_spread_inside_groups_are_a_bootstrap_over_the_groups():
    means = [1.0, 3.0, 4.0, 8.0, 9.0, 11.0]
    found = two_level_bootstrap_interval({str(mean): [mean] * 3 for mean in means})
    expected = bootstrap_interval(means)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.25)


def test_groups_of_different_sizes_resample_their_own_values_only():
    found = two_level_bootstrap_interval({"a": [10.0], "b": [10.0, 10.0], "c": [10.0] * 5})
    assert (found.low, found.high) == pytest.approx((10.0, 10.0))
    skewed = two_level_bootstrap_interval({"a": [0.0], "b": [0.0, 0.0, 12.0]})
    # Means of two drawn groups: b's resampled mean is one of 0, 4, 8, 12.
    assert skewed.low == 0.0
    assert skewed.high == pytest.approx(8.0)


def test_spread_inside_groups_widens_the_two_level_interval():
    still = two_level_bootstrap_interval({str(k): [float(k)] * 3 for k in range(5)})
    noisy = two_level_bootstrap_interval({str(k): [k - 6.0, float(k), k + 6.0] for k in range(5)})
    assert noisy.high - noisy.low > 1.5 * (still.high - still.low)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3, 4, 5, 6], 2 / 64),  # all ranks positive: 1 of the 64 signs on each side
        ([-1, 2, 3, 4, 5, 6], 4 / 64),  # W = 1
        ([1, 1, 1, 1, 1, -1], 14 / 64),  # equal ranks: at most one negative, 7 on each side
        ([0.0, 1, 2, 3, 4, 5], 2 / 32),  # the zero is discarded
        ([0.0, 0.0], 1.0),
    ],
)
def test_signed_rank_cases_by_hand(differences, p):
    assert signed_rank_p(differences) == pytest.approx(p)


@settings(max_examples=40)
@given(st.lists(st.integers(-5, 5).filter(bool).map(float), min_size=1, max_size=8))
def test_the_signed_rank_p_is_the_share_of_signs_that_are_as_extreme(differences):
    ranks = stats.rankdata(np.abs(differences))
    observed = min(ranks[np.array(differences) > 0].sum(), ranks[np.array(differences) < 0].sum())
    sums = [
        ranks[list(signs)].sum()
        for signs in map(np.array, itertools.product([True, False], repeat=len(ranks)))
    ]
    p = min(1.0, 2 * np.mean([each <= observed + 1e-9 for each in sums]))
    assert signed_rank_p(differences) == pytest.approx(p)


def test_rounding_error_does_not_break_ties():
    thirds = [1 / 3, 1 - 2 / 3, 4 / 3 - 1, 7 / 3 - 2, 1 / 3, -1 / 3]
    assert len(set(np.abs(thirds))) > 1
    assert signed_rank_p(thirds) == pytest.approx(14 / 64)


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (4, 0.125), (5, 0.0625), (6, 0.03125), (11, 2 / 2048)])
def test_the_smallest_p_is_reached_when_all_datasets_agree(n, p):
    assert smallest_signed_rank_p(n) == p
    assert signed_rank_p(range(1, n + 1)) == pytest.approx(p)


def test_a_family_that_cannot_be_significant_is_not_tested():
    assert can_be_significant([4, 4]) == [False, False]
    assert can_be_significant([6]) == [True]
    assert can_be_significant([6, 6]) == [False, False]  # 2 × 0.03125 > 0.05
    assert can_be_significant([11, 11, 4]) == [True, True, False]
    assert can_be_significant([11, 6]) == [True, True]  # 6 may pass once 11 has
    assert can_be_significant([]) == []


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_shrinks_a_p_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    assert all(raw <= new <= 1 for raw, new in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
    assert max(adjusted) <= len(p_values) * max(p_values) + 1e-12


def test_a_tie_is_what_prints_as_zero():
    assert wins_ties_losses([0.004, -0.004, 0.006, -1.0, 2.0]) == (2, 2, 1)

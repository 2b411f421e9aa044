"""Intervals and censored times against what they must be."""

import numpy as np
import pytest

from experiments import statistics
from experiments.statistics import Interval

INF = float("inf")


def test_an_interval_of_a_median_covers_it():
    """Of samples of 20, in about 95% of 200."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        found = statistics.median(rng.lognormal(size=20))
        assert found.low <= found.middle <= found.high
        covered += found.low <= 1 <= found.high
    assert 180 <= covered <= 200


def test_what_was_not_reached_is_not_left_out():
    steps = [10, 20, 30]
    curves = [[3, 0.5, 0.1], [3, 2, 0.9], [3, 2, 1], [None, None, None], [0.9, 2, 2]]
    first = statistics.first_below(steps, curves, 1.0)
    np.testing.assert_array_equal(first, [20, 30, INF, INF, 10])
    until = statistics.time_to(steps, curves, 1.0)
    assert until.middle == 30
    assert until.high == INF
    assert until.show("{:.0f}").startswith("30 [")
    assert until.show("{:.0f}").endswith("never]")
    none = statistics.time_to(steps, [[3, 3, 3]] * 4, 1.0)
    assert none.show() == "never [never, never]"


def test_a_run_that_diverged_is_the_worst():
    assert statistics.median([None, None, 1.0]).middle == INF
    assert statistics.median([None, None, 1.0], "high").middle == 0
    assert statistics.accuracy([None] * 6 + [0.9] * 4).startswith("0% [")


def test_of_two_middle_values_the_worse_one():
    half = [0.5] * 5 + [1.0] * 5
    assert statistics.median(half).middle == 1.0
    assert statistics.median(half, "high") == Interval(0.5, 0.5, 1.0)


def test_pairs_make_a_difference_sharp():
    rng = np.random.default_rng(0)
    level = rng.normal(size=30)
    one = level + 0.1 + 0.01 * rng.normal(size=30)
    found = statistics.mean(one - level)
    assert 0.09 < found.low < found.middle < found.high < 0.11
    apart = statistics.mean(one - rng.permutation(level))
    assert apart.high - apart.low > 10 * (found.high - found.low)


@pytest.mark.parametrize(
    ("apart", "margin", "equal"), [(0.0, 0.02, 1), (0.03, 0.02, 0)]
)
def test_equivalence_is_to_be_shown(apart, margin, equal):
    rng = np.random.default_rng(2)
    one = 0.9 + 0.01 * rng.normal(size=20)
    other = one + apart + 0.005 * rng.normal(size=20)
    assert (statistics.equivalent(one, other, margin) < 0.05) == equal
    # Few and noisy runs show nothing.
    assert statistics.equivalent([0.9, 0.8, 0.7], [0.7, 0.9, 0.8], margin) > 0.05
    assert statistics.equivalent(one, one, margin) == 0
    assert statistics.equivalent(one, one + 0.5, margin) == 1


def test_shares_that_differ_by_luck_or_not():
    """Five of five against none: one of the 252 ways to deal them, and its mirror."""
    assert statistics.fisher(5, 0, 5) == pytest.approx(2 / 252)
    assert statistics.fisher(3, 3, 5) == pytest.approx(1)


def test_ten_of_ten_proves_little():
    """Wilson's interval, as in Brown, Cai and DasGupta 2001."""
    assert statistics.share(10, 10).low == pytest.approx(0.7225, abs=1e-4)
    assert statistics.share(20, 20).low == pytest.approx(0.8389, abs=1e-4)
    assert statistics.share(0, 10).high == pytest.approx(0.2775, abs=1e-4)


def test_numbers_are_shown_with_their_interval():
    assert Interval(0.5, 0.25, 1.0).show("{:.0%}") == "50% [25%, 100%]"

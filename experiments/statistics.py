"""Medians with intervals, paired differences, and times that were not reached."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint


class Interval(NamedTuple):
    """An estimate and its 95% interval."""

    middle: float
    low: float
    high: float

    def show(self, form: str = "{:.3g}", infinite: str = "never") -> str:
        """``0.52 [0.50, 0.55]``"""
        middle, low, high = (infinite if np.isinf(v) else form.format(v) for v in self)
        return f"{middle} [{low}, {high}]"


def bootstrapped(statistic: Callable, *samples: Sequence[float]) -> Interval:
    """A statistic of samples, with the percentile interval of 10,000 resamplings of seeds.

    Args:
        statistic: ``(*samples, axis) -> values``.
        samples: of one entry a seed each, the seeds of all in the same order.
    """
    arrays = [np.asarray(sample, float) for sample in samples]
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(arrays[0]), size=(10_000, len(arrays[0])))
    with np.errstate(invalid="ignore"):
        values = statistic(*(a[drawn] for a in arrays), axis=1)
        middle = statistic(*arrays, axis=0)
    # Outwards to a value that occurs: infinity has no mean with a number.
    low = np.quantile(values, 0.025, method="lower")
    high = np.quantile(values, 0.975, method="higher")
    return Interval(float(middle), float(low), float(high))


def median(sample: Sequence[float | None], better: str = "low") -> Interval:
    """The median and its 95% interval.

    Args:
        sample: one entry a seed; None, of a run that diverged, is the worst of all.
        better: "low" for losses and times, "high" for accuracies. Of two middle values the
            worse one is the median, so that infinity needs no mean with a number.
    """
    sign = {"low": 1.0, "high": -1.0}[better]
    values = np.array(sample, float)
    values = np.where(np.isnan(values), np.inf if better == "low" else 0.0, values)
    found = bootstrapped(_upper_median, sign * values)
    ends = sorted((sign * found.low, sign * found.high))
    return Interval(sign * found.middle, *ends)


def accuracy(sample: Sequence[float | None]) -> str:
    """A median of accuracies in %, with its interval."""
    return median(sample, "high").show("{:.0%}")


def mean(sample: Sequence[float]) -> Interval:
    """The mean and its 95% interval, such as of differences between pairs."""
    return bootstrapped(np.mean, sample)


def equivalent(one: Sequence[float], other: Sequence[float], margin: float) -> float:
    """The p value of "they differ by the margin or more": two one-sided paired t tests.

    Below 0.05 the mean difference is within the margin (Schuirmann 1987).
    """
    apart = np.asarray(one, float) - np.asarray(other, float)
    if np.ptp(apart) < 1e-9:  # all the same: there is nothing to test
        return float(abs(apart[0]) >= margin)
    above = stats.ttest_1samp(apart, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(apart, margin, alternative="less").pvalue
    return float(max(above, below))


def fisher(successes: int, others: int, trials: int) -> float:
    """p of Fisher's exact test, two-sided, that two shares of as many trials are alike."""
    table = [[n, trials - n] for n in (successes, others)]
    return float(stats.fisher_exact(table).pvalue)


def share(successes: int, trials: int) -> Interval:
    """A success rate with Wilson's 95% interval."""
    low, high = proportion_confint(successes, trials, method="wilson")
    return Interval(successes / trials, float(low), float(high))


def first_below(steps: Sequence[int], curves: Sequence, threshold: float) -> np.ndarray:
    """Of each seed the first step whose mean is below the threshold; infinity: not reached.

    Args:
        steps: [rows].
        curves: [seeds, rows]; NaN or None where there is no mean.
    """
    curves = np.array(curves, float)
    reached = curves < threshold
    first = np.asarray(steps, float)[np.argmax(reached, axis=1)]
    return np.where(reached.any(axis=1), first, np.inf)


def time_to(steps: Sequence[int], curves: Sequence, threshold: float) -> Interval:
    """The median time to the threshold with its 95% interval; infinity where not reached.

    All runs are cut off at one time, so the Kaplan-Meier median is the median with the
    runs that did not get there at infinity, and no run is left out.
    """
    return median(first_below(steps, curves, threshold))


def _upper_median(sample: np.ndarray, axis: int) -> np.ndarray:
    """The upper of two middle values: infinity has no mean with a number."""
    ordered = np.sort(sample, axis=axis)
    return np.take(ordered, ordered.shape[axis] // 2, axis=axis)

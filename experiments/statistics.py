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

    def show(self, form: str = "{:.3g}") -> str:
        """``0.52 [0.50, 0.55]``"""
        middle, low, high = ("never" if np.isinf(v) else form.format(v) for v in self)
        return f"{middle} [{low}, {high}]"


def bootstrapped(
    statistic: Callable, *samples: Sequence[float], paired: bool = True
) -> Interval:
    """A statistic of samples, with the percentile interval of 10,000 resamplings.

    Args:
        statistic: ``(*samples, axis) -> values``.
        samples: of one entry a seed each.
        paired: resample seeds, not each sample by itself.
    """
    arrays = [np.asarray(sample, float) for sample in samples]
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(a), size=(10_000, len(a))) for a in arrays]
    if paired:
        drawn = [drawn[0]] * len(arrays)
    resampled = [a[d] for a, d in zip(arrays, drawn, strict=True)]
    with np.errstate(invalid="ignore"):
        values = statistic(*resampled, axis=1)
        middle = statistic(*arrays, axis=0)
    # Of an infinite and a finite neighbour the quantile is the worse one, not their mean.
    low, high = np.quantile(values, [0.025, 0.975], method="higher")
    return Interval(float(middle), float(low), float(high))


def median(sample: Sequence[float | None], missing: float = np.inf) -> Interval:
    """The median and its 95% interval; None, a run that diverged, counts as `missing`."""
    values = np.array(sample, float)
    return bootstrapped(_median, np.where(np.isnan(values), missing, values))


def difference(one: Sequence[float], other: Sequence[float]) -> Interval:
    """The median of the paired differences ``one - other``, and its 95% interval."""
    return bootstrapped(
        lambda a, b, axis: np.median(a - b, axis=axis), one, other, paired=True
    )


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


def _median(sample: np.ndarray, axis: int) -> np.ndarray:
    """The upper of two middle values: infinity has no mean with a number."""
    ordered = np.sort(sample, axis=axis)
    return np.take(ordered, ordered.shape[axis] // 2, axis=axis)

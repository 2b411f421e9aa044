"""Interleaved rounds, and what may be said of a ratio."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PAUSE = 0.005  # seconds


def interleaved(
    runs: dict[str, Callable],
    *,
    seconds: float,
    least: int = 7,
    most: int = 200,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every call: each round calls all, in an order of its own.

    After a pause, in which the threads of the one before, which wait for more work by
    spinning, fall asleep: else whoever comes after torch pays for it. Then a call that
    is not timed, which wakes the threads of this one: torch's first call after a pause
    may take ten times as long at small sizes, and in a loop there is no such call.

    Args:
        runs: name -> a call that returns when its work is done; warm already.
        seconds: begin no new round after that long, but make at least `least`.
        least, most: rounds.
        clock: what tells the time, in seconds.
    """
    names, samples, begun = list(runs), {name: [] for name in runs}, time.perf_counter()
    random = np.random.default_rng(0)
    for number in range(most):
        if number >= least and time.perf_counter() - begun > seconds:
            break
        for name in random.permutation(names):
            time.sleep(PAUSE)
            runs[name]()
            start = clock()
            runs[name]()
            samples[name].append(clock() - start)
    return samples


class Ratio(NamedTuple):
    """How many times as long another takes: median over rounds, and 95% of resamplings."""

    median: float
    low: float
    high: float


def ratio(other: list[float], ours: list[float], draws: int = 2000) -> Ratio:
    """The paired ratio, round by round, with its bootstrap interval."""
    pairs = np.array(other) / np.array(ours)
    random = np.random.default_rng(0)
    resampled = random.choice(pairs, (draws, len(pairs)))
    low, high = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    return Ratio(statistics.median(pairs), float(low), float(high))

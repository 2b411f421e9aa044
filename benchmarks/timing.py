"""Interleaved rounds, and ratios with their intervals."""

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
    """Seconds of every call; each round calls all, in random order.

    A pause comes before each call. In it the spinning threads of the previous library go to
    sleep; otherwise they would slow the call after torch. Then comes a call that is not
    timed, which wakes this library's threads: torch's first call after a pause may take
    ten times as long at small sizes, and a training loop has no such calls.

    Args:
        runs: name -> a call that returns when its work is done; warm already.
        seconds: start no new round after that long, but do at least `least`.
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
    """How many times as long another takes: the median over rounds, and a 95% interval."""

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

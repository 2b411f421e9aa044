"""Data sets: each batch is a pure function of its number, so that a run can resume.

`arrays`, `streams` and `buckets` return a ``grain.MapDataset``. ``data[n]`` is batch n. The
iterator reads ahead in threads; its position is saved in checkpoints. Grain
(https://google-grain.readthedocs.io) can also shuffle, map and mix data sets. Arrays may be
memory-mapped: a batch reads only its own part.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrnn._extra import need
from jaxrnn.train.checks import check_count

FOREVER = 2**40  # the length in batches of a data set without end: grain needs a number


# Grain's transformations that do not change batches.
_KEEPING = "Slice Repeat Shuffle Prefetch Limit Filter WithOptions WithSeed".split()


def attribute_of(data: Any, name: str) -> Any:
    """An attribute of a data set from `arrays`, `streams` or `buckets`, or None.

    It is found through grain's transformations that do not change batches.
    """
    while not hasattr(data, name):
        parents = getattr(data, "_parents", ())
        same = any(word in type(data).__name__ for word in _KEEPING)
        if len(parents) != 1 or not same:
            return None
        (data,) = parents
    return getattr(data, name)


def settings_of(data: Any) -> dict:
    """Settings of a grain data set for JSON, and the transformations after its source."""
    then = []
    while not hasattr(data, "settings") and len(getattr(data, "_parents", ())) == 1:
        then.append(type(data).__name__)
        (data,) = data._parents
    settings = getattr(data, "settings", {"name": type(data).__name__})
    return settings | ({"then": then[::-1]} if then else {})


class Kept:
    """`make(epoch)`, kept for the last two epochs. `functools.lru_cache` has no pickle."""

    def __init__(self, make: Callable):
        self.make, self.made = make, {}

    def __call__(self, epoch: int) -> Any:
        made = self.made  # never changed, only replaced: grain reads in threads
        if epoch not in made:
            made = dict([*made.items(), (epoch, self.make(epoch))][-2:])
            self.made = made
        return made[epoch]

    def __reduce__(self):
        return Kept, (self.make,)


class _Batches:
    """Batch i over all epochs: the source that grain reads."""

    def __init__(self, at: Callable, count: int, epochs: int | None):
        self.at, self.count = at, count
        self.size = FOREVER if epochs is None else count * epochs

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return self.at(*divmod(int(i), self.count))


def dataset(
    at: Callable,
    count: int,
    epochs: int | None,
    *,
    batch_axis: Any,
    batch_sizes: set[int],
    settings: dict,
) -> Any:
    """A data set whose batch n of epoch e is ``at(e, n)``; `fit` reads the attributes."""
    if epochs is not None:
        check_count("epochs", epochs)
    data: Any = need("grain").MapDataset.source(_Batches(at, count, epochs))
    data.batch_axis, data.batch_sizes = batch_axis, frozenset(batch_sizes)
    whole = lambda a: int(a) if isinstance(a, np.integer) else a
    data.settings = jax.tree.map(whole, settings | dict(epochs=epochs))
    return data

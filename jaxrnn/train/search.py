"""Hyperparameters of a population: grids and random draws, as arrays."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.train.checks import check_count


def grid(**axes: Iterable) -> dict[str, np.ndarray]:
    """Every combination of the values of each axis, for `sweep`.

    Args:
        axes: name -> values.

    Returns:
        name -> [N], the last axis varying fastest; N is the product of the lengths.

    Example:
        >>> from jaxrnn import train
        >>> train.grid(rate=[0.1, 0.2], seed=range(2))["rate"].tolist()
        [0.1, 0.1, 0.2, 0.2]
    """
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(
                f"{name}: expected numbers, got {values!r}. A single one is written "
                f"{name}=[0.1]."
            )
    combinations = list(itertools.product(*(list(values) for values in axes.values())))
    if not axes or not combinations:
        raise ValueError(
            "grid: expected at least one axis, and a value on each, got none."
        )
    columns = zip(*combinations, strict=True)
    return checked(dict(zip(axes, map(list, columns), strict=True)))


def random_search(key: jax.Array, members: int, **axes: Any) -> dict[str, np.ndarray]:
    """Independent draws of each hyperparameter, for `sweep`.

    Bergstra and Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html: where few of
    many hyperparameters matter, random beats a grid.

    Args:
        key: a PRNG key.
        members: N.
        axes: name -> `uniform`, `log_uniform`, `choice`, or N values as they are, such as
            ``seed=range(N)``.

    Returns:
        name -> [N].

    Example:
        >>> import jax
        >>> from jaxrnn import train
        >>> key = jax.random.key(0)
        >>> hypers = train.random_search(
        ...     key, 3, rate=train.log_uniform(1e-4, 1e-1), seed=range(3)
        ... )
        >>> hypers["rate"].shape, hypers["seed"].tolist()
        ((3,), [0, 1, 2])
    """
    check_count("members", members)
    if not axes:
        raise ValueError("random_search: expected at least one axis, got none.")
    keys = jax.random.split(key, len(axes))
    found = {
        name: axis(k, members) if callable(axis) else list(axis)
        for k, (name, axis) in zip(keys, axes.items(), strict=True)
    }
    return checked(found, members)


def uniform(low: float, high: float) -> Callable:
    """Uniform in [low, high), for `random_search`."""
    return lambda key, n: jax.random.uniform(key, (n,), minval=low, maxval=high)


def log_uniform(low: float, high: float) -> Callable:
    """Uniform in the logarithm from `low` to `high`, both above 0, for `random_search`.

    Raises:
        ValueError: unless 0 < low < high.
    """
    if not 0 < low < high:
        raise ValueError(f"log_uniform: expected 0 < low < high, got {low}, {high}.")
    logs = uniform(np.log(low), np.log(high))
    return lambda key, n: jnp.exp(logs(key, n))


def choice(values: Iterable) -> Callable:
    """One of `values`, each as likely, for `random_search`."""
    values = jnp.asarray(list(values))
    return lambda key, n: jax.random.choice(key, values, (n,))


def checked(hypers: Mapping[str, Any], members: int | None = None) -> dict:
    """`hypers` as NumPy arrays of one length."""
    if not isinstance(hypers, Mapping) or not hypers:
        raise ValueError(
            "hypers: expected name -> values for at least one hyperparameter, got "
            f"{hypers!r}. train.grid(rate=[1e-3, 1e-2]) makes one."
        )
    columns = {}
    for name, values in hypers.items():
        try:
            array = np.asarray(values)
        except ValueError:  # ragged lists
            array = np.empty(1, object)
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"hypers[{name!r}]: expected numbers, got {values!r}. Each member is "
                "traced with a number; for a choice of another kind, such as a cell, "
                "run a sweep for each."
            )
        members = len(array) if members is None and array.ndim else members
        if array.ndim != 1 or not len(array) or len(array) != members:
            raise ValueError(
                f"hypers[{name!r}]: expected [{members or 'N'}], one value per member, "
                f"got {list(array.shape)}."
            )
        columns[name] = array
    return columns

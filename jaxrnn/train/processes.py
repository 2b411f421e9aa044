"""A run of several processes: what each holds, and what all agree on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_first_process() -> bool:
    """Whether this is the run's first process, which reads and writes for all."""
    return jax.process_index() == 0


def to_host(tree: Any) -> Any:
    """`tree` as NumPy arrays, whole in every process; keys as their data."""

    def one(leaf):
        leaf = jax.random.key_data(leaf) if is_key(leaf) else leaf
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            if leaf.is_fully_replicated:
                return np.asarray(leaf.addressable_data(0))
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.asarray(leaf)

    return jax.tree.map(one, tree)


def with_keys(values: Any, like: Any) -> Any:
    """`values` from `to_host`, with keys again where `like` has them."""

    def one(value, leaf):
        if is_key(leaf):
            return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf))
        return value

    return jax.tree.map(one, values, like)


def agree(flag: bool) -> bool:
    """Whether `flag` holds in any process; the same answer in all."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


@contextmanager
def together() -> Iterator[None]:
    """Work that some processes do alone: what fails in one is raised in all."""
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    if agree(failure is not None):
        raise failure or RuntimeError("another process of this run failed; see there.")


def from_first(value: np.ndarray) -> np.ndarray:
    """The first process's `value`, in all."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(value))


def is_key(leaf: Any) -> bool:
    """Whether `leaf` is an array of typed PRNG keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )

"""The PRNG keys of noise: one for what rows share, and one for each row."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

THREEFRY = "threefry2x32"
SHARED = 2**32 - 1  # no row has this number, so no row draws what all share


class NoiseKey(NamedTuple):
    """The PRNG keys of a cell's noise.

    Fields:
        shared: one key for what all rows share, such as dropped weights; None where
            only keys of rows came in.
        rows: a key for each row, ``[*batch]``.
    """

    shared: jax.Array | None
    rows: jax.Array

    def part(self, number: int) -> "NoiseKey":
        """The keys of one of several parts, none of which draws what another draws."""
        shared = None if self.shared is None else _fold_in(self.shared, number)
        return NoiseKey(shared, _fold_in(self.rows, number))


def noise_key(
    key: Any, batch: tuple | None, spec: PartitionSpec | tuple = ()
) -> NoiseKey | None:
    """The keys for a batch of this shape, from one key or one a row ``[*batch]``.

    A row's key is ``fold_in(key, b)``, b its number in the batch. Without batch axes, or
    where they are unknown, one key is the row's. The rows' keys lie where the rows do:
    `spec` says over which explicit mesh axes the batch's are split.
    """
    if key is None:
        return None
    key, batch = _threefry(key), () if batch is None else batch
    if key.shape not in ((), batch):
        raise ValueError(
            f"key: expected one PRNG key or one for each row, {list(batch)}, got "
            f"{list(key.shape)} keys."
        )
    if batch == ():
        return NoiseKey(shared=_fold_in(key, SHARED), rows=key)
    if key.shape == batch:
        return NoiseKey(shared=None, rows=_split(key, spec))
    numbers = jnp.arange(math.prod(batch), dtype=jnp.uint32).reshape(batch)
    rows = _fold_in(jnp.broadcast_to(key, batch), numbers)
    return NoiseKey(_fold_in(key, SHARED), _split(rows, spec))


def _split(keys: jax.Array, spec: Any) -> jax.Array:
    """`keys`, split over explicit mesh axes; as they are where there are none."""
    return jax.sharding.reshard(keys, PartitionSpec(*spec)) if any(spec) else keys


def _threefry(key: Any) -> jax.Array:
    """A key, or an array of keys, of the generator whose draws for a row are its alone.

    The other generators' draws under `jax.vmap` depend on the rows beside it, so the
    words of their keys become one of threefry. Keys of `jax.random.PRNGKey` are words.
    """
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if str(jax.random.key_impl(key)) == THREEFRY:
            return key
        words = jax.random.key_data(key)
    elif dtype == jnp.uint32 and key.ndim and key.shape[-1] in (2, 4):
        words = jnp.asarray(key)
    else:
        raise ValueError(
            "key: expected a PRNG key, or one a row, got "
            f"{type(key).__name__ if dtype is None else dtype}. jax.random.key(0) makes "
            "one."
        )
    keys = jax.random.wrap_key_data(words[..., :2], impl=THREEFRY)
    for n in range(2, words.shape[-1]):
        keys = _fold_in(keys, words[..., n])
    return keys


def _fold_in(keys: jax.Array, numbers: Any) -> jax.Array:
    """`jax.random.fold_in` of each key, with one number or with one for each."""
    numbers = jnp.asarray(numbers, jnp.uint32)
    fold = jax.random.fold_in
    for _ in range(keys.ndim):
        fold = jax.vmap(fold, (0, 0 if numbers.ndim else None))
    return fold(keys, numbers)

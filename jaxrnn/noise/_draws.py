"""What noise draws: for each row by its own key, for all steps at once."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn._keys import NoiseKey
from jaxrnn.cell import Control

# A draw has 16 bits, so a word serves two units. Rates are multiples of 2⁻¹⁶.
LEVELS = 2**16


def check_rate(rate: Any, name: str = "rate") -> None:
    """Raises ValueError unless it is a rate; the value of a `jax.Array` is not read."""
    known = _known(name, rate)
    if known is not None and not 0 <= known < 1:
        raise ValueError(f"{name}: expected 0 to 1, without 1, got {rate!r}.")


def check_deviation(name: str, value: Any) -> None:
    """Raises ValueError unless it is a standard deviation."""
    known = _known(name, value)
    if known is not None and not 0 <= known < math.inf:
        raise ValueError(f"{name}: expected a number from 0, got {value!r}.")


def _known(name: str, value: Any) -> np.ndarray | None:
    """The number, None if only the device knows it."""
    try:
        known = None if isinstance(value, jax.Array) else np.asarray(value)
        dtype = value.dtype if known is None else known.dtype
        real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
        number = np.shape(value) == () and real
    except ValueError:  # a ragged list
        number = False
    if not number:
        raise ValueError(f"{name}: expected a number, got {value!r}.")
    return known


def within(rate: Any, dtype: Any) -> jax.Array:
    """The rate from 0 to the greatest that is drawn, with a gradient at 0 too."""
    rate, most = jnp.asarray(rate, dtype), 1 - 1 / LEVELS
    return jnp.where(rate < 0, 0, jnp.where(rate > most, most, rate)).astype(dtype)


def levels_of(rate: Any) -> jax.Array:
    """How many of the 2¹⁶ draws are below the rate; never all."""
    return jnp.round(within(rate, jnp.float32) * LEVELS)


def kept(draws: jax.Array, rate: Any) -> jax.Array:
    """Which draws of 16 bits are not below the rate."""
    return draws >= levels_of(rate).astype(jnp.uint32)


def drop(a: jax.Array, kept: jax.Array, rate: Any) -> jax.Array:
    """`a` where it is kept, scaled so that its mean stays, else 0."""
    return jnp.where(kept, a / (1 - levels_of(rate) / LEVELS).astype(a.dtype), 0)


def bits(key: NoiseKey, control: Control, shape: tuple) -> jax.Array:
    """Uniform numbers from 0 to 2¹⁶ - 1, ``[T, *batch, *event]``, each row by its key.

    One draw a row for all steps; a longer sequence begins with the same numbers.
    """
    width = math.prod(shape[1 + key.rows.ndim :])
    pairs = -(-width // 2)

    def of_row(key):
        words = jax.random.bits(key, (shape[0], pairs), jnp.uint32)
        halves = jnp.stack([words & 0xFFFF, words >> 16], axis=-1)
        return halves.reshape(shape[0], 2 * pairs)[:, :width]

    return _each_row(of_row, key, control, shape)


def normals(key: NoiseKey, control: Control, shape: tuple, dtype: Any) -> jax.Array:
    """Normal numbers ``[T, *batch, *event]``, each row by its key.

    Each is the middle one of a 2⁻¹⁶ of the standard normal distribution: none is beyond
    4.33, and their variance is 0.99998. Half as many words are drawn, which is most of
    the work.
    """
    wide = jnp.promote_types(dtype, jnp.float32)
    middles = (2 * bits(key, control, shape).astype(wide) + 1) / LEVELS - 1
    return (math.sqrt(2) * lax.erf_inv(middles)).astype(dtype)


def _each_row(
    draw: Callable, key: NoiseKey, control: Control, shape: tuple
) -> jax.Array:
    if control.batch_ndim is None or control.batch_ndim != key.rows.ndim:
        raise ValueError(
            "key: expected a cell whose batch is known. Give lengths, or say by the "
            "cell's event_ndim how many trailing axes of x are one row's."
        )
    for _ in range(control.batch_ndim):
        draw = jax.vmap(draw, out_axes=1)
    return draw(key.rows).reshape(shape)


def bits_of_sequences(key: NoiseKey, control: Control, shape: tuple) -> jax.Array:
    """As `bits`, but the same at all steps of a sequence, which a reset begins.

    They are those of the sequence's first step, whichever way time runs.
    """
    if control.resets is None:
        once = bits(key, control, (1, *shape[1:]))
        return jnp.broadcast_to(once, shape)
    resets = control.resets
    steps = jnp.expand_dims(jnp.arange(shape[0]), range(1, resets.ndim))
    first = lax.cummax(jnp.where(resets, steps, 0))
    first = jnp.expand_dims(first, range(resets.ndim, len(shape)))
    return jnp.take_along_axis(bits(key, control, shape), first, axis=0)


def either(some: Any, others: Any) -> Any:
    """A tree with the leaves of `others` where `some` has None."""
    pick = lambda a, b: b if a is None else a
    return jax.tree.map(pick, some, others, is_leaf=lambda a: a is None)


def is_float(a: Any) -> bool:
    return jnp.issubdtype(a.dtype, jnp.inexact)


def each_float(f: Callable, key: NoiseKey, tree: Any, *others: Any) -> Any:
    """``f(key, leaf, ...)`` of the floats of a tree, each with a key of its own.

    Other leaves become None.
    """
    leaves, structure = jax.tree.flatten(tree)
    beside = [structure.flatten_up_to(other) for other in others]
    drawn = [
        f(key.part(n), *leaf) if is_float(leaf[0]) else None
        for n, leaf in enumerate(zip(leaves, *beside, strict=True))
    ]
    return structure.unflatten(drawn)

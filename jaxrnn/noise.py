"""Noise: functions that make a cell from a cell. Without a key all are the evaluation.

Noise enters `jaxrnn.unroll` by ``key=``. What a row draws at a step depends on its key
and the step alone: not on the rows beside it, on padding, ``remat`` or the engine. (On the
number of steps neither, under JAX's default ``jax_threefry_partitionable``.) Draws begin
anew at every `unroll`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._factory import factory
from jaxrnn._keys import NoiseKey
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell, Control

__all__ = ["dropout"]

# A draw has 16 bits, so a word serves two units. Rates are multiples of 2⁻¹⁶.
LEVELS = 2**16


@factory
def dropout(cell: Cell, rate: Any) -> Cell:
    """The cell with dropout on what it shows: each unit of h is 0, or ``h / (1 - rate)``.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html; between the
    layers of a `stack` as in Zaremba et al. 2014, arXiv:1409.2329. The memory is as it is
    without noise.

    Args:
        cell: any cell.
        rate: how likely a unit is dropped, from 0 to 1 without 1: a number, or a traced
            value. Rounded to a multiple of 2⁻¹⁶.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``; without one, and in a step, it is `cell` itself. Rate 0 is `cell`
        itself too.

    Raises:
        ValueError: for what is no cell, a rate that is none, and under a key a cell of
            which nobody knows what its batch is.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.dropout(jaxrnn.gru(100), rate=0.25)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> _, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> bool(0.2 < (hs == 0).mean() < 0.3)
        True
    """
    if not isinstance(cell, Cell):
        raise ValueError(f"dropout: expected a jaxrnn.Cell, got {cell!r}.")
    check_rate(rate)

    def step(params, carry, x):
        return cell.step(params, carry, x)

    def unroll(params, carry, xs, control, run):
        if control.key is None:
            return run(cell, params, carry, xs, control)
        carry, hs = run(cell, params, carry, xs, control.part(0, control.fresh))
        return carry, _dropped(hs, rate, control)

    spec = spec_of("dropout", cells=(cell.spec,), rate=rate)
    return cell._replace(step=step, unroll=unroll, parts=(cell,), spec=spec)


def check_rate(rate: Any) -> None:
    """Raises ValueError unless it is a rate; the value of a `jax.Array` is not read."""
    known = None if isinstance(rate, jax.Array) else np.asarray(rate)
    shape, kind = np.shape(rate), "f" if known is None else known.dtype.kind
    if shape != () or kind not in "iuf":
        raise ValueError(f"rate: expected a number, got {rate!r}.")
    if known is not None and not 0 <= known < 1:
        raise ValueError(f"rate: expected 0 to 1, without 1, got {rate!r}.")


def _dropped(hs: Any, rate: Any, control: Control) -> Any:
    """The floats of ``hs [T, *batch, ...]``, each dropped or scaled."""
    assert control.key is not None
    key = control.key.part(1)
    dropped = jnp.clip(
        jnp.round(jnp.asarray(rate, jnp.float32) * LEVELS), 0, LEVELS - 1
    )

    def one(a, number):
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            return a
        draws = row_bits(key.part(number), control.batch_ndim, a.shape)
        kept = (1 - dropped / LEVELS).astype(a.dtype)
        return jnp.where(draws >= dropped.astype(jnp.uint32), a / kept, 0)

    leaves, tree = jax.tree.flatten(hs)
    return tree.unflatten([one(a, n) for n, a in enumerate(leaves)])


def row_bits(key: NoiseKey, batch_ndim: int | None, shape: tuple) -> jax.Array:
    """Uniform numbers from 0 to 2¹⁶ - 1, ``[T, *batch, *event]``, each row by its key.

    One draw a row for all steps; a longer sequence begins with the same numbers.
    """
    if batch_ndim is None or batch_ndim != key.rows.ndim:
        raise ValueError(
            "key: expected a cell whose batch is known. Give lengths, or say by the "
            "cell's event_ndim how many trailing axes of x are one row's."
        )
    length, event = shape[0], shape[1 + batch_ndim :]
    width = math.prod(event)
    pairs = -(-width // 2)

    def of_row(key):
        words = jax.random.bits(key, (length, pairs), jnp.uint32)
        halves = jnp.stack([words & 0xFFFF, words >> 16], axis=-1)
        return halves.reshape(length, 2 * pairs)[:, :width].reshape(length, *event)

    for _ in range(batch_ndim):
        of_row = jax.vmap(of_row, out_axes=1)
    return of_row(key.rows)

"""Dropout of what a cell shows."""

from typing import Any

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated
from jaxrnn.noise._draws import (
    bits,
    check_rate,
    drop,
    each_float,
    either,
    kept,
)


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

        def one(key, a):
            return drop(a, kept(bits(key, control, a.shape), rate), rate)

        dropped = each_float(one, control.key.part(1), hs)
        return carry, either(dropped, hs)

    # of a gated cell a gated one, around which other noise may be put
    parts: Any = cell.parts if isinstance(cell.parts, Gated) else (cell,)
    spec = spec_of("dropout", cells=(cell.spec,), rate=rate)
    return cell._replace(step=step, unroll=unroll, parts=parts, spec=spec)

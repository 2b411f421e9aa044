"""DropConnect on recurrent kernels."""

from typing import Any

import jax

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.noise._draws import check_rate, drop, kept
from jaxrnn.noise._riding import check_gated, noisy


@factory
def weight_drop(cell: Cell, rate: Any, *, names: tuple[str, ...] = ("wh", "u")) -> Cell:
    """The cell with DropConnect on its recurrent kernels: the same for all rows and steps.

    Merity et al. 2018, arXiv:1708.02182, after Wan et al. 2013: each weight is 0, or
    ``w / (1 - rate)``.

    Args:
        cell: a gated cell, with noise of its own or without.
        rate: how likely a weight is dropped, from 0 to 1 without 1: a number, or a traced
            value. Rounded to a multiple of 2⁻¹⁶.
        names: the params that are dropped, of those that the cell has.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``, which is one key, not one a row; without it, and in a step, it is
        `cell` itself, and so it is at rate 0.

    Raises:
        ValueError: for what is no gated cell, a rate that is none, names that are none,
            and when run for a cell without such params or with a key for each row.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.weight_drop(jaxrnn.lstm(4), rate=0.5)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> hs.shape
        (6, 2, 4)
    """
    check_gated("weight_drop", cell)
    check_rate(rate)
    if not isinstance(names, tuple) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"names: expected a tuple of params' names, got {names!r}.")

    def run_noisy(key, types, inner, params, carry, xs, control, run):
        if key.shared is None:
            raise ValueError(
                "key: expected one PRNG key, because all rows share the weights that "
                "weight_drop drops, got one for each row."
            )
        count = 0

        def one(path, w):
            nonlocal count
            if jax.tree_util.keystr(path[-1:], simple=True) not in names:
                return w
            count += 1
            drawn = jax.random.bits(key.part(count).shared, w.shape, "uint16")
            return drop(w, kept(drawn, rate), rate)

        dropped = jax.tree.map_with_path(one, params)
        if not count:
            known = [
                jax.tree_util.keystr(path[-1:], simple=True)
                for path, _ in jax.tree.leaves_with_path(params)
            ]
            raise ValueError(
                f"names: expected some of the params of {cell!r}, {known}, got "
                f"{list(names)}."
            )
        return run(inner, dropped, carry, xs, control)

    spec = spec_of("weight_drop", cells=(cell.spec,), rate=rate, names=names)
    return noisy(cell, spec, run_noisy, plain=cell)

"""Zoneout: units of the memory that stay what they were."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import structure_of
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated, gated
from jaxrnn.noise._draws import (
    bits,
    check_rate,
    each_float,
    is_float,
    kept,
    within,
)
from jaxrnn.noise._riding import WithNoise, check_gated, noisy, riding


@factory
def zoneout(cell: Cell, rate: Any) -> Cell:
    """The cell with zoneout: each unit of the memory may keep its old value at a step.

    Krueger et al. 2017, arXiv:1606.01305. Of an LSTM, h and c have draws of their own,
    and the new h is that of the c which is not held:

        c' = c where held, else f c + i g;  h' = h where held, else o tanh(f c + i g)

    Without a key it is the expectation, as in the paper: ``rate * old + (1 - rate) *
    new``.

    Args:
        cell: a gated cell, with noise of its own or without.
        rate: how likely a unit is held, from 0 to 1 without 1: a number, or a traced
            value, for a carry that is one array or that has h and c; or a tree like the
            carry: ``jaxrnn.cells.LSTMCarry(h=0.05, c=0.5)``. Rounded to a multiple of
            2⁻¹⁶. (Of an sLSTM's carry, c, n and m mean something together only: rates of
            0 leave them alone.)

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``. Rate 0 is `cell` itself.

    Raises:
        ValueError: for what is no gated cell, a rate that is none, and when run for a
            rate that does not fit the carry.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.zoneout(jaxrnn.gru(4), rate=0.1)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> h, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> bool((hs[1:] == hs[:-1]).any())
        True
    """
    check_gated("zoneout", cell)
    for path, one in jax.tree.leaves_with_path(rate):
        check_rate(one, f"rate{jax.tree_util.keystr(path)}")

    parts: Any = cell.parts

    def expected(params, old, gates):
        def one(rate, old, new):
            if not is_float(new):
                return new
            # not rounded to what is drawn, so that it has a gradient; at 0 it is new
            return new + within(rate, new.dtype) * (old - new)

        new = parts.update(params, old, gates)
        return jax.tree.map(one, _rates(rate, old), old, new)

    plain = gated(
        init=cell.init,
        initial_carry=cell.initial_carry,
        event_ndim=cell.event_ndim,
        **parts._replace(update=expected)._asdict(),
    )

    def disturbed(equations: Gated, held) -> Gated:
        def update(params, old, gates):
            new = equations.update(params, old, gates)
            pick = lambda h, old, new: new if h is None else jnp.where(h, old, new)
            return jax.tree.map(pick, held, old, new, is_leaf=lambda h: h is None)

        return equations._replace(update=update)

    def run_noisy(key, types, inner, params, carry, xs, control, run):
        def one(key, like, rate):
            return ~kept(bits(key, control, types.over_time(like)), rate)

        like = types.carry
        held = each_float(one, key, like, _rates(rate, like))
        xs = WithNoise(xs, held)
        return run(riding(inner, disturbed), params, carry, xs, control)

    spec = spec_of("zoneout", cells=(cell.spec,), rate=rate)
    return noisy(cell, spec, run_noisy, plain)


def _rates(rate: Any, carry: Any) -> Any:
    """A rate for each leaf of the carry."""
    given, wanted = jax.tree.structure(rate), jax.tree.structure(carry)
    if given == wanted:
        return rate
    fields = getattr(carry, "_fields", ())
    if given == jax.tree.structure(0) and set(fields) == {"h", "c"}:
        return type(carry)(*[rate] * 2)
    raise ValueError(
        f"rate: expected one for each of {structure_of(carry)}, got "
        f"{structure_of(rate)}. A number is for a carry that is one array, or has h and "
        "c; for another give a tree like it, with 0 for what is never held."
    )

"""The carry, shown at every step, or learned."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell, composed
from jaxrnn.compose._shared import (
    check_cells,
    check_kind,
    row_of,
)
from jaxrnn.gated import Gated


@factory
def with_carries(cell: Cell) -> Cell:
    """The cell with its carry shown at every step: its h is ``(h, carry)``.

    Args:
        cell: any cell; a composition shows the carries of all cells inside. Gated ones
            keep their engine.

    Returns:
        A cell with the params and the carry of `cell`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.with_carries(jaxrnn.lstm(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> last, (hs, carries) = jaxrnn.unroll(cell, params, None, jnp.ones((6, 2, 3)))
        >>> carries.c.shape, bool((carries.c[-1] == last.c).all())
        ((6, 2, 4), True)
    """
    check_cells("with_carries", cell)

    spec = spec_of("with_carries", cells=(cell.spec,))
    if not composed(cell):
        return _showing(cell)._replace(spec=spec)

    def step(params, carry, x):
        carry, h = cell.step(params, carry, x)
        return carry, (h, carry)

    def unroll(params, carry, xs, control, run):
        def show(inner, params, carry, xs, control):
            if composed(inner):
                return inner.unroll(params, carry, xs, control, show)
            last, (hs, every) = run(_showing(inner), params, carry, xs, control)
            return _Carries(last, every), hs

        seen, hs = show(cell, params, carry, xs, control)
        pick = lambda name: jax.tree.map(
            lambda node: getattr(node, name),
            seen,
            is_leaf=lambda node: isinstance(node, _Carries),
        )
        return pick("last"), (hs, pick("every"))

    return cell._replace(step=step, unroll=unroll, parts=(cell,), spec=spec)


class _Carries(NamedTuple):
    """In place of a cell's carry: the one after its last step, and those of all steps."""

    last: Any
    every: Any


def _showing(cell: Cell) -> Cell:
    """A cell that is no composition, with its carry shown: its h is ``(h, carry)``."""

    def step(params, carry, x):
        carry, h = cell.step(params, carry, x)
        return carry, (h, carry)

    parts: Any = (cell,)
    if isinstance(cell.parts, Gated):
        output = cell.parts.output
        both = lambda params, carry: (output(params, carry), carry)
        parts = cell.parts._replace(output=both)
    return cell._replace(step=step, unroll=None, parts=parts)


class LearnedCarryParams(NamedTuple):
    """Params of `learned_carry`: the cell's, and its initial carry without a batch.

    ``carry`` has None for leaves that are no floats: integers and keys are not learned.
    """

    cell: Any
    carry: Any


@factory
def learned_carry(cell: Cell) -> Cell:
    """The cell with its initial carry as a parameter, to which resets go too.

    Args:
        cell: any cell.

    Returns:
        A cell with params `LearnedCarryParams`; the carry starts as the cell's own. Of
        images a value for each channel is learned. Only floats are: integers and keys
        stay as the cell gives them.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.learned_carry(jaxrnn.gru(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> params = params._replace(carry=params.carry + 0.5)
        >>> h = cell.initial_carry(params, jnp.ones((2, 3)))
        >>> h.shape, float(h[1, 0])
        ((2, 4), 0.5)
    """
    check_cells("learned_carry", cell)

    def init(key, features):
        params = cell.init(key, features)
        x = row_of(cell, features)
        carry = cell.initial_carry(params, x)
        # of an image a value for each channel, so that it may have any size
        one = lambda c: c[(0,) * (x.ndim - 1)] if _is_float(c) else None
        return LearnedCarryParams(params, jax.tree.map(one, carry))

    def initial_carry(params, x):
        check_kind(params, LearnedCarryParams)
        zeros = cell.initial_carry(params.cell, x)

        def one(zero, learned):
            if learned is None or not _is_float(zero):
                return zero
            if zero.shape[zero.ndim - learned.ndim :] != learned.shape:
                raise ValueError(
                    f"params.carry: expected the last axes of {list(zero.shape)}, "
                    f"got {list(learned.shape)}."
                )
            return jnp.zeros_like(zero) + aligned(learned.astype(zero.dtype), zero)

        return jax.tree.map(one, zeros, params.carry)

    def step(params, carry, x):
        check_kind(params, LearnedCarryParams)
        return cell.step(params.cell, carry, x)

    def unroll(params, carry, xs, control, run):
        return run(cell, params.cell, carry, xs, control)

    return Cell(
        init=init,
        initial_carry=initial_carry,
        step=step,
        unroll=unroll,
        event_ndim=cell.event_ndim,
        parts=(cell,),
        spec=spec_of("learned_carry", cells=(cell.spec,)),
    )


def _is_float(a: jax.Array) -> bool:
    return jnp.issubdtype(a.dtype, jnp.inexact)

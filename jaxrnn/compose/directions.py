"""Both directions of time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import name_of, spec_of
from jaxrnn._tree import select
from jaxrnn.cell import Cell
from jaxrnn.compose._shared import (
    check_cells,
    check_kind,
)


class BidirectionalParams(NamedTuple):
    """Params of `bidirectional`: those of its two cells."""

    forward: Any
    backward: Any


class BidirectionalCarry(NamedTuple):
    """Carries of `bidirectional`: after the last step, and after the first."""

    forward: Any
    backward: Any


MERGES = {
    "concat": lambda f, b: jnp.concatenate([f, b], axis=-1),
    "sum": jnp.add,
    "mean": lambda f, b: (f + b) / 2,
    "product": jnp.multiply,
}


@factory
def bidirectional(
    forward: Cell, backward: Cell | None = None, *, merge: str | Callable = "concat"
) -> Cell:
    """One cell forwards in time and one backwards, their outputs merged step by step.

    Schuster and Paliwal 1997, https://doi.org/10.1109/78.650093.

    Args:
        forward: the cell that reads from the first valid step to the last.
        backward: the cell that reads from the last to the first; None is one like
            `forward`, with params of its own.
        merge: "concat", "sum", "mean", "product", or ``(h_forward, h_backward) -> h``.

    Returns:
        A cell with params `BidirectionalParams` and a carry `BidirectionalCarry`. Only
        `unroll` runs it: its step raises ValueError, because a step cannot see the
            future.

    Raises:
        ValueError: for an unknown merge.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.bidirectional(jaxrnn.gru(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jnp.ones((6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, lengths=[6, 4])
        >>> hs.shape
        (6, 2, 8)
    """
    backward = forward if backward is None else backward
    check_cells("bidirectional", forward, backward)
    if not callable(merge) and merge not in MERGES:
        raise ValueError(
            f"merge: expected one of {sorted(MERGES)} or a function, got {merge!r}."
        )
    join = merge if callable(merge) else MERGES[merge]

    def init(key, features):
        kf, kb = jax.random.split(key)
        return BidirectionalParams(
            forward.init(kf, features), backward.init(kb, features)
        )

    def initial_carry(params, x):
        check_kind(params, BidirectionalParams)
        return BidirectionalCarry(
            forward.initial_carry(params.forward, x),
            backward.initial_carry(params.backward, x),
        )

    def step(params, carry, x):
        raise ValueError(
            "step: a bidirectional cell has no step, because a step cannot see the "
            "future. Run it with jaxrnn.unroll."
        )

    def unroll(params, carry, xs, control, run):
        fresh = control.fresh or BidirectionalCarry(None, None)
        ahead = control.part(0, fresh.forward)
        back = control.part(1, fresh.backward)._replace(reverse=not control.reverse)
        cf, hf = run(forward, params.forward, carry.forward, xs, ahead)
        cb, hb = run(backward, params.backward, carry.backward, xs, back)
        return BidirectionalCarry(cf, cb), select(control.valid, join(hf, hb), 0)

    cells = (forward, backward)
    name = merge if isinstance(merge, str) else name_of(merge)
    inside = tuple(cell.spec for cell in cells)
    spec = spec_of("bidirectional", cells=inside, merge=name)
    return Cell(
        init=init,
        initial_carry=initial_carry,
        step=step,
        unroll=unroll,
        event_ndim=forward.event_ndim,
        parts=cells,
        spec=spec,
    )

"""Noise: functions that make a cell from a cell. Without a key all are the evaluation.

Noise enters `jaxrnn.unroll` by ``key=``. What a row draws at a step depends on its key
and the step alone: not on the rows beside it, on padding, ``remat`` or the engine. (On the
number of steps neither, under JAX's default ``jax_threefry_partitionable``.) Draws begin
anew at every `unroll`.

All but `dropout` are for gated cells, and may be put around each other; the layers of a
`stack` each get their own. No noise adds params or a carry, so it may come and go.
"""

from jaxrnn.cell import Cell, call_of
from jaxrnn.noise._dropout import dropout
from jaxrnn.noise._gaussian import gaussian
from jaxrnn.noise._recurrent_dropout import recurrent_dropout
from jaxrnn.noise._riding import without_noise as without_noise
from jaxrnn.noise._variational import variational
from jaxrnn.noise._weight_drop import weight_drop
from jaxrnn.noise._zoneout import zoneout

__all__ = [
    "dropout",
    "gaussian",
    "recurrent_dropout",
    "variational",
    "weight_drop",
    "zoneout",
]

KINDS = (dropout, variational, recurrent_dropout, zoneout, weight_drop, gaussian)


def is_noisy(cell: Cell) -> bool:
    """Whether a cell was made by a function of this module, or of such a cell."""
    make, args, options = call_of(cell) or (None, (), {})
    inside = (*args, *options.values(), *cell.parts)
    return make in KINDS or any(is_noisy(c) for c in inside if isinstance(c, Cell))

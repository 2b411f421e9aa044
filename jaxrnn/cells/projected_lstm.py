"""The LSTM that shows a projection: Sak et al. 2014, arXiv:1402.1128.

As `lstm`, but for

    h' = (o tanh(c')) Wp

so that h, which the gates read and the next layer sees, is narrower than c (the paper's
LSTMP; torch's ``proj_size``).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.lstm import LSTMCarry, gates, new_cell_state, output, project, recur
from jaxrnn.cells.options import (
    Draw,
    check_hidden,
    check_width,
    gate_bias,
    zeros,
)
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal, per_gate


class ProjectedLSTMParams(NamedTuple):
    """Parameters of `projected_lstm`: wx [F, 4H], wh [P, 4H], b [4H], wp [H, P].

    Gates are packed i, f, g, o.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    wp: jax.Array


def update(params, carry, gates):
    c = new_cell_state(carry, gates.i, gates.f, gates.g)
    return LSTMCarry(h=(gates.o * jnp.tanh(c)) @ params.wp, c=c)


@factory
def projected_lstm(
    hidden: int,
    projection: int,
    *,
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The LSTM with a projection: ``h' = (o tanh(c')) Wp``, narrower than c.

    Args:
        hidden: H, the width of c and of the gates.
        projection: P, the width of h.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate; also draws
            the projection, ``(key, (H, P), dtype)``.
        recurrent_init: ``(key, (P, H), dtype)``, the recurrent kernel of one gate.
        forget_bias, bias_init, dtype: as of `lstm`.

    Returns:
        A cell with params `ProjectedLSTMParams` and a carry `LSTMCarry`, whose h is
        [*batch, P].

    Raises:
        ValueError: as `lstm`, and for a projection that is not a positive integer.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.projected_lstm(hidden=8, projection=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.c.shape, hs.shape
        ((2, 8), (5, 2, 4))
    """
    hidden, projection = check_hidden(hidden), check_width("projection", projection)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        gates = dict(f=start_bias, shown=projection)
        dense = draw.dense("ifgo", key, features, hidden, **gates)
        key = jax.random.fold_in(key, 3)
        wp = per_gate(kernel_init, 1, key, (hidden, projection), dtype)
        return ProjectedLSTMParams(*dense, wp=wp)

    def initial_carry(params, x):
        return LSTMCarry(h=zeros(x, projection), c=zeros(x, hidden))

    return gated(
        init=init,
        initial_carry=initial_carry,
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "projected_lstm",
            hidden=hidden,
            projection=projection,
            forget_bias=forget_bias,
            dtype=dtype,
        ),
    )

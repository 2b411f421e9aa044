"""The LSTM whose gates see the cell state: Gers & Schmidhuber 2000.

As `lstm`, but for

    i = σ(x Wi + h Ui + pi c + bi)
    f = σ(x Wf + h Uf + pf c + bf)
    o = σ(x Wo + h Uo + po c' + bo)

The weights of the peepholes pi, pf and po are vectors: a unit's gates see the unit's c.
o is opened last, so it sees the new c.

https://doi.org/10.1109/IJCNN.2000.861302
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.lstm import (
    LSTMCarry,
    LSTMGates,
    new_cell_state,
    output,
    project,
    recur,
    update,
)
from jaxrnn.cells.options import Draw, check_hidden, gate_bias, times, zeros
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class PeepholeLSTMParams(NamedTuple):
    """Parameters of `peephole_lstm`: those of `lstm`, and the peepholes pi, pf, po [H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    pi: jax.Array
    pf: jax.Array
    po: jax.Array


def gates(params, carry, pre):
    i, f, g, o = pre
    i = sigmoid(i + times(params.pi, carry.c))
    f = sigmoid(f + times(params.pf, carry.c))
    g = jnp.tanh(g)
    o = sigmoid(o + times(params.po, new_cell_state(carry, i, f, g)))
    return LSTMGates(i, f, g, o)


@factory
def peephole_lstm(
    hidden: int,
    *,
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The LSTM with peepholes: i and f see the cell state c, o sees the new one.

    Args:
        hidden: H, the width of h and of c.
        forget_bias, kernel_init, recurrent_init, bias_init, dtype: as of `lstm`. The
            peepholes start at zero.

    Returns:
        A cell with params `PeepholeLSTMParams` and a carry `LSTMCarry`.

    Raises:
        ValueError: as `lstm`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.peephole_lstm(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.c.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("ifgo", key, features, hidden, f=start_bias)
        return PeepholeLSTMParams(*dense, *[draw.full(hidden, 0)] * 3)

    return gated(
        init=init,
        initial_carry=lambda params, x: LSTMCarry(zeros(x, hidden), zeros(x, hidden)),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "peephole_lstm", hidden=hidden, forget_bias=forget_bias, dtype=dtype
        ),
    )

"""The LSTM whose cell forgets as much as enters: Greff et al. 2017, arXiv:1503.04069.

As `lstm`, but for

    f = 1 - i

so that c' is a mean of c and g (the paper's CIFG).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.gru import project
from jaxrnn.cells.lstm import LSTMCarry, LSTMGates, output, update
from jaxrnn.cells.options import Draw, check_hidden, gate_bias, zeros
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class CoupledLSTMParams(NamedTuple):
    """Parameters of `coupled_lstm`, packed i, g, o: wx [F, 3H], wh [H, 3H], b [3H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


def recur(params, carry, z):
    return tuple(map(jnp.add, z, jnp.split(carry.h @ params.wh, 3, axis=-1)))


def gates(params, carry, pre):
    i, g, o = pre
    return LSTMGates(sigmoid(i), sigmoid(-i), jnp.tanh(g), sigmoid(o))


@factory
def coupled_lstm(
    hidden: int,
    *,
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The LSTM with coupled input and forget gates: ``c' = (1 - i) c + i g``.

    The gates are i, o = σ(x W + h U + b), f = 1 - i = σ(-(x W + h U + b)) of i's weights,
    and g = tanh(x W + h U + b).

    Args:
        hidden: H, the width of h and of c.
        forget_bias: how far f is open at first: the initial bias of i is its negative. A
            number, an array [H] or a traced value; None is 1.0.
        kernel_init, recurrent_init, dtype: as of `lstm`.
        bias_init: ``(key, H, dtype) -> b [3H]`` in place of zeros and `forget_bias`, such
            as ``initializers.chrono(T, "igo")``.

    Returns:
        A cell with params `CoupledLSTMParams` and a carry `LSTMCarry`.

    Raises:
        ValueError: as `lstm`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.coupled_lstm(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> params.b.reshape(3, 4)[0].tolist()
        [-1.0, -1.0, -1.0, -1.0]
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.c.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("igo", key, features, hidden, i=-jnp.asarray(start_bias))
        return CoupledLSTMParams(*dense)

    return gated(
        init=init,
        initial_carry=lambda params, x: LSTMCarry(zeros(x, hidden), zeros(x, hidden)),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "coupled_lstm", hidden=hidden, forget_bias=forget_bias, dtype=dtype
        ),
    )

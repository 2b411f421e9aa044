"""The LSTM with forget gates (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i = σ(x Wi + h Ui + bi)        what enters the cell
    f = σ(x Wf + h Uf + bf)        what the cell keeps
    g = tanh(x Wg + h Ug + bg)     what could enter
    o = σ(x Wo + h Uo + bo)        what the cell shows
    c' = f c + i g
    h' = o tanh(c')

https://doi.org/10.1162/neco.1997.9.8.1735, https://doi.org/10.1162/089976600300015015
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells.options import Draw, check_hidden, gate_bias, zeros
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class LSTMParams(NamedTuple):
    """Parameters of `lstm`, gates packed i, f, g, o: wx [F, 4H], wh [H, 4H], b [4H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class LSTMCarry(NamedTuple):
    """The LSTM's memory: hidden state h and cell state c, both [*batch, H]."""

    h: jax.Array
    c: jax.Array


class LSTMGates(NamedTuple):
    """Input i, forget f and output o in (0, 1), candidate g in (-1, 1): [*batch, H]."""

    i: jax.Array
    f: jax.Array
    g: jax.Array
    o: jax.Array


def project(params, x):
    return tuple(jnp.split(x @ params.wx + aligned(params.b, x), 4, axis=-1))


def recur(params, carry, z):
    xi, xf, xg, xo = z
    hi, hf, hg, ho = jnp.split(carry.h @ params.wh, 4, axis=-1)
    return xi + hi, xf + hf, xg + hg, xo + ho


def gates(params, carry, pre):
    i, f, g, o = pre
    return LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))


def new_cell_state(carry, i, f, g):
    return f * carry.c + i * g


def update(params, carry, gates):
    i, f, g, o = gates
    c = new_cell_state(carry, i, f, g)
    return LSTMCarry(h=o * jnp.tanh(c), c=c)


def output(params, carry):
    return carry.h


@factory
def lstm(
    hidden: int,
    *,
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The long short-term memory: ``c' = f c + i g``, ``h' = o tanh(c')``.

    The gates are i, f, o = σ(x W + h U + b) and g = tanh(x W + h U + b).

    Args:
        hidden: H, the width of h and of c.
        forget_bias: the initial bias of the forget gate, a number, an array [H] or a
            traced value; None is 1.0. Never added at run time.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (H, H), dtype)``, the recurrent kernel of one gate.
        bias_init: ``(key, H, dtype) -> b [4H]`` in place of zeros and `forget_bias`,
            such as `initializers.chrono`.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `LSTMParams` and a carry `LSTMCarry`.

    Raises:
        ValueError: for a width that is not a positive integer, a forget bias of another
            shape, or both biases.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.lstm(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.c.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)

    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        return LSTMParams(*draw.dense("ifgo", key, features, hidden, f=start_bias))

    def initial_carry(params, x):
        return LSTMCarry(h=zeros(x, hidden), c=zeros(x, hidden))

    return gated(
        init=init,
        initial_carry=initial_carry,
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of("lstm", hidden=hidden, forget_bias=forget_bias, dtype=dtype),
    )

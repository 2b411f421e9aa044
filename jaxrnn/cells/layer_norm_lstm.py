"""The LSTM whose pre-activations are normalised: Ba et al. 2016, arXiv:1607.06450.

With N(a) = (a - mean(a)) / sqrt(var(a) + ε) over the numbers of one row, those of all
four gates together:

    (i, f, g, o) = (σ, σ, tanh, σ)(sx N(x Wx) + sh N(h Wh) + b)
    c' = f c + i g
    h' = o tanh(sc N(c') + bc)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells.lstm import LSTMCarry, LSTMGates, new_cell_state, output
from jaxrnn.cells.norm import normed
from jaxrnn.cells.options import (
    Draw,
    check_hidden,
    check_number,
    gate_bias,
    times,
    zeros,
)
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class LayerNormLSTMParams(NamedTuple):
    """Parameters of `layer_norm_lstm`, gates packed i, f, g, o.

    wx [F, 4H], wh [H, 4H], b [4H]; the scales sx, sh [4H] of the two norms, and of c's
    norm the scale sc [H] and the bias bc [H].
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    sx: jax.Array
    sh: jax.Array
    sc: jax.Array
    bc: jax.Array


@factory
def layer_norm_lstm(
    hidden: int,
    *,
    forget_bias: float | jax.Array | None = None,
    epsilon: float | jax.Array = 1e-5,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The LSTM with layer norms of what the input says, of what h says, and of c.

    A norm is over the four gates of a row together, as in the paper.

    Args:
        hidden: H, the width of h and of c.
        epsilon: ε, added to the variances. A number, or a traced value.
        forget_bias, kernel_init, recurrent_init, bias_init, dtype: as of `lstm`. The
            scales of the norms start at 1.

    Returns:
        A cell with params `LayerNormLSTMParams` and a carry `LSTMCarry`.

    Raises:
        ValueError: as `lstm`, and for an epsilon that is no number.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.layer_norm_lstm(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.c.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    check_number("epsilon", epsilon)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("ifgo", key, features, hidden, f=start_bias)
        sizes = dict(sx=4 * hidden, sh=4 * hidden, sc=hidden)
        scales = {name: draw.full(size, 1) for name, size in sizes.items()}
        return LayerNormLSTMParams(*dense, **scales, bc=draw.full(hidden, 0))

    def project(params, x):
        z = times(params.sx, normed(x @ params.wx, epsilon))
        return (z + aligned(params.b, z),)

    def recur(params, carry, z):
        return *z, carry.h @ params.wh

    def gates(params, carry, pre):
        x, h = pre
        pre = x + times(params.sh, normed(h, epsilon))
        i, f, g, o = jnp.split(pre, 4, axis=-1)
        return LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))

    def update(params, carry, gates):
        c = new_cell_state(carry, gates.i, gates.f, gates.g)
        shown = times(params.sc, normed(c, epsilon))
        return LSTMCarry(h=gates.o * jnp.tanh(shown + aligned(params.bc, shown)), c=c)

    return gated(
        init=init,
        initial_carry=lambda params, x: LSTMCarry(zeros(x, hidden), zeros(x, hidden)),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "layer_norm_lstm",
            hidden=hidden,
            forget_bias=forget_bias,
            epsilon=epsilon,
            dtype=dtype,
        ),
    )

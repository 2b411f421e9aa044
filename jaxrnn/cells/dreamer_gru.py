"""The GRU of DreamerV3: Hafner et al. 2023, arXiv:2301.04104.

With N(a) = (a - mean(a)) / sqrt(var(a) + ε) over the numbers of one row, those of all
three gates together:

    (r, z, n) = s N(x Wx + h Wh) + b
    h' = (1 - σ(z)) tanh(σ(r) n) + σ(z) h

The authors' code has a gate 1 - σ(z) whose bias it lowers by 1; here that of z starts at 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells.gru import GRUGates, output, update
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


class DreamerGRUParams(NamedTuple):
    """Parameters of `dreamer_gru`, gates packed r, z, n.

    wx [F, 3H], wh [H, 3H], and of the norm the bias b [3H] and the scale s [3H].
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    s: jax.Array


@factory
def dreamer_gru(
    hidden: int,
    *,
    update_bias: float | jax.Array | None = None,
    epsilon: float | jax.Array = 1e-3,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The GRU of DreamerV3: one layer norm over all gates, r after the norm.

    Args:
        hidden: H, the width of the state.
        update_bias: the initial bias of the keep gate z, a number, an array [H] or a
            traced value; None is 1.0.
        epsilon: ε, added to the variance. A number, or a traced value.
        kernel_init, recurrent_init, bias_init, dtype: as of `gru`. The scale of the norm
            starts at 1.

    Returns:
        A cell with params `DreamerGRUParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: as `gru`, and for an epsilon that is no number.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.dreamer_gru(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    start_bias = gate_bias("update_bias", update_bias, 1.0, hidden, bias_init)
    check_number("epsilon", epsilon)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("rzn", key, features, hidden, z=start_bias)
        return DreamerGRUParams(*dense, s=draw.full(3 * hidden, 1))

    def recur(params, h, z):
        return (z[0] + h @ params.wh,)

    def gates(params, h, pre):
        a = times(params.s, normed(pre[0], epsilon))
        r, z, n = jnp.split(a + aligned(params.b, a), 3, axis=-1)
        r = sigmoid(r)
        return GRUGates(r, sigmoid(z), jnp.tanh(r * n))

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=lambda params, x: (x @ params.wx,),
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "dreamer_gru",
            hidden=hidden,
            update_bias=update_bias,
            epsilon=epsilon,
            dtype=dtype,
        ),
    )

"""The GRU whose pre-activations are normalised: Ba et al. 2016, arXiv:1607.06450.

With N(a) = (a - mean(a)) / sqrt(var(a) + ε) over the numbers of one row, those of r and z
together, and those of n:

    (r, z) = σ(sx N(x Wx) + sh N(h Wh) + b)
    n = tanh(sx N(x Wx) + b + r (sh N(h Wh) + bn))
    h' = (1 - z) n + z h
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


class LayerNormGRUParams(NamedTuple):
    """Parameters of `layer_norm_gru`, gates packed r, z, n.

    wx [F, 3H], wh [H, 3H], b [3H], bn [H], and the scales sx, sh [3H] of the norms.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    bn: jax.Array
    sx: jax.Array
    sh: jax.Array


@factory
def layer_norm_gru(
    hidden: int,
    *,
    update_bias: float | jax.Array | None = None,
    epsilon: float | jax.Array = 1e-5,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The GRU with layer norms of what the input says and of what h says.

    A norm is over r and z of a row together, another over its n, as in the paper.

    Args:
        hidden: H, the width of the state.
        epsilon: ε, added to the variances. A number, or a traced value.
        update_bias, kernel_init, recurrent_init, bias_init, dtype: as of `gru`. The
            scales of the norms start at 1.

    Returns:
        A cell with params `LayerNormGRUParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: as `gru`, and for an epsilon that is no number.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.layer_norm_gru(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    start_bias = gate_bias("update_bias", update_bias, 0.0, hidden, bias_init)
    check_number("epsilon", epsilon)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("rzn", key, features, hidden, z=start_bias)
        ones = draw.full(3 * hidden, 1)
        return LayerNormGRUParams(*dense, bn=draw.full(hidden, 0), sx=ones, sh=ones)

    def both_normed(a):
        rz, n = a[..., : 2 * hidden], a[..., 2 * hidden :]
        return jnp.concatenate([normed(rz, epsilon), normed(n, epsilon)], -1)

    def project(params, x):
        z = times(params.sx, both_normed(x @ params.wx))
        return (z + aligned(params.b, z),)

    def recur(params, h, z):
        return *z, h @ params.wh

    def gates(params, h, pre):
        x, h = pre
        h = times(params.sh, both_normed(h))
        (xr, xz, xn), (hr, hz, hn) = (jnp.split(a, 3, axis=-1) for a in (x, h))
        r = sigmoid(xr + hr)
        n = jnp.tanh(xn + r * (hn + aligned(params.bn, hn)))
        return GRUGates(r, sigmoid(xz + hz), n)

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "layer_norm_gru",
            hidden=hidden,
            update_bias=update_bias,
            epsilon=epsilon,
            dtype=dtype,
        ),
    )

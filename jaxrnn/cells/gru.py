"""The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), as in torch and cuDNN.

    r = σ(x Wr + h Ur + br)               how much of the memory the candidate sees
    z = σ(x Wz + h Uz + bz)               what the memory keeps
    n = tanh(x Wn + bn + r (h Un + bh))   what could enter
    h' = (1 - z) n + z h

The reset gate acts after the recurrent matmul, so one matmul serves all three gates.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells.options import (
    check_features,
    check_gate_bias,
    check_hidden,
    draw_bias,
    zeros,
)
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal, per_gate
from jaxrnn.sigmoid import sigmoid


class GRUParams(NamedTuple):
    """Parameters of `gru`: wx [F, 3H], wh [H, 3H], b [3H], bn [H].

    Gates are packed r, z, n; ``bn`` is the recurrent bias of n, which r scales.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    bn: jax.Array


class GRUGates(NamedTuple):
    """Reset r and keep z in (0, 1), candidate n in (-1, 1): [*batch, H]."""

    r: jax.Array
    z: jax.Array
    n: jax.Array


def project(params, x):
    return tuple(jnp.split(x @ params.wx + aligned(params.b, x), 3, axis=-1))


def recur(params, h, z):
    xr, xz, xn = z
    hr, hz, hn = jnp.split(h @ params.wh, 3, axis=-1)
    return xr + hr, xz + hz, xn, hn + aligned(params.bn, hn)


def gates(params, h, pre):
    r, z, n, hn = pre
    r = sigmoid(r)
    return GRUGates(r, sigmoid(z), jnp.tanh(n + r * hn))


def update(params, h, gates):
    _, z, n = gates
    return (1 - z) * n + z * h


def output(params, h):
    return h


@factory
def gru(
    hidden: int,
    *,
    update_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The gated recurrent unit: ``h' = (1 - z) n + z h``; its carry is ``h``.

    The gates are r, z = σ(x W + h U + b) and n = tanh(x W + b + r (h U + bn)).

    Args:
        hidden: H, the width of the state.
        update_bias: the initial bias of the keep gate z, a number, an array [H] or a
            traced value; None is 0.0.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (H, H), dtype)``, the recurrent kernel of one gate.
        bias_init: ``(key, H, dtype) -> b [3H]`` in place of zeros and `update_bias`,
            such as ``initializers.chrono(T, "rzn")``. ``bn`` starts at zero.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `GRUParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: for a width that is not a positive integer, an update bias of another
            shape, or both biases.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.gru(hidden=4, update_bias=2.0)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    check_gate_bias("update_bias", update_bias, hidden, bias_init)
    start_bias = 0.0 if update_bias is None else update_bias

    def init(key, features):
        kx, kh, kb = jax.random.split(key, 3)
        features = check_features(features)
        return GRUParams(
            wx=per_gate(kernel_init, 3, kx, (features, hidden), dtype),
            wh=per_gate(recurrent_init, 3, kh, (hidden, hidden), dtype),
            b=draw_bias("rzn", bias_init, kb, hidden, dtype, z=start_bias),
            bn=draw_bias("n", None, kb, hidden, dtype),
        )

    def initial_carry(params, x):
        return zeros(x, hidden)

    return gated(
        init=init,
        initial_carry=initial_carry,
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of("gru", hidden=hidden, update_bias=update_bias, dtype=dtype),
    )

"""The update gate RNN: the GRU without a reset (Collins et al. 2017, arXiv:1611.09913).

z = σ(x Wz + h Uz + bz)      what the memory keeps
n = tanh(x Wn + h Un + bn)   what could enter
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
from jaxrnn.cells.gru import output
from jaxrnn.cells.options import Draw, check_hidden, gate_bias, zeros
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class UGRNNParams(NamedTuple):
    """Parameters of `ugrnn`, gates packed z, n: wx [F, 2H], wh [H, 2H], b [2H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class UGRNNGates(NamedTuple):
    """Keep z in (0, 1), candidate n in (-1, 1): [*batch, H]."""

    z: jax.Array
    n: jax.Array


def project(params, x):
    return tuple(jnp.split(x @ params.wx + aligned(params.b, x), 2, axis=-1))


def recur(params, h, z):
    return tuple(map(jnp.add, z, jnp.split(h @ params.wh, 2, axis=-1)))


def gates(params, h, pre):
    z, n = pre
    return UGRNNGates(sigmoid(z), jnp.tanh(n))


def update(params, h, gates):
    z, n = gates
    return (1 - z) * n + z * h


@factory
def ugrnn(
    hidden: int,
    *,
    update_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The update gate RNN: ``h' = (1 - z) n + z h``; its carry is ``h``.

    Args:
        hidden: H, the width of the state.
        update_bias: the initial bias of the keep gate z, a number, an array [H] or a
            traced value; None is 1.0.
        kernel_init, recurrent_init, dtype: as of `gru`.
        bias_init: ``(key, H, dtype) -> b [2H]`` in place of zeros and `update_bias`, such
            as ``initializers.chrono(T, "zn")``.

    Returns:
        A cell with params `UGRNNParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: as `gru`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.ugrnn(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    start_bias = gate_bias("update_bias", update_bias, 1.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        return UGRNNParams(*draw.dense("zn", key, features, hidden, z=start_bias))

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of("ugrnn", hidden=hidden, update_bias=update_bias, dtype=dtype),
    )

"""The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), as in torch and cuDNN.

    r = σ(x Wr + h Ur + br)               how much of the memory the candidate sees
    z = σ(x Wz + h Uz + bz)               what the memory keeps
    n = tanh(x Wn + bn + r (h Un + bh))   what could enter
    h' = (1 - z) n + z h

The reset gate acts after the recurrent matmul, so one matmul serves all three gates. In
the paper it acts before, and then the candidate waits for a second matmul:

    n = tanh(x Wn + (r h) Un + bn)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells.options import Draw, check_flag, check_hidden, gate_bias, zeros
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class GRUParams(NamedTuple):
    """Parameters of `gru`: wx [F, 3H], wh [H, 3H], b [3H], bn [H].

    Gates are packed r, z, n; ``bn`` is the recurrent bias of n, which r scales.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    bn: jax.Array


class ResetBeforeGRUParams(NamedTuple):
    """Parameters of `gru` with ``reset_after=False``: wx [F, 3H], wh [H, 3H], b [3H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


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


def recur_before(params, h, z):
    xr, xz, xn = z
    hr, hz = jnp.split(h @ params.wh[:, : 2 * h.shape[-1]], 2, axis=-1)
    return xr + hr, xz + hz, xn


def gates_before(params, h, pre):
    r, z, n = pre
    r = sigmoid(r)
    return GRUGates(r, sigmoid(z), jnp.tanh(n + (r * h) @ params.wh[:, -h.shape[-1] :]))


def update(params, h, gates):
    _, z, n = gates
    return (1 - z) * n + z * h


def output(params, h):
    return h


@factory
def gru(
    hidden: int,
    *,
    reset_after: bool = True,
    update_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The gated recurrent unit: ``h' = (1 - z) n + z h``; its carry is ``h``.

    The gates are r, z = σ(x W + h U + b) and n = tanh(x W + b + r (h U + bn)), or
    n = tanh(x W + b + (r h) U).

    Args:
        hidden: H, the width of the state.
        reset_after: whether r acts after the matmul, as in torch and cuDNN, or before it,
            as in the paper and in Haiku. Before it, a step waits for two matmuls.
        update_bias: the initial bias of the keep gate z, a number, an array [H] or a
            traced value; None is 0.0.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (H, H), dtype)``, the recurrent kernel of one gate.
        bias_init: ``(key, H, dtype) -> b [3H]`` in place of zeros and `update_bias`,
            such as ``initializers.chrono(T, "rzn")``. ``bn`` starts at zero.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `GRUParams`, or `ResetBeforeGRUParams`, and a carry
        ``h [*batch, H]``.

    Raises:
        ValueError: for a width that is not a positive integer, a flag that is no bool,
            an update bias of another shape, or both biases.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.gru(hidden=4, update_bias=2.0)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    check_flag("reset_after", reset_after)
    start_bias = gate_bias("update_bias", update_bias, 0.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("rzn", key, features, hidden, z=start_bias)
        if not reset_after:
            return ResetBeforeGRUParams(*dense)
        return GRUParams(*dense, bn=draw.full(hidden, 0))

    def initial_carry(params, x):
        return zeros(x, hidden)

    return gated(
        init=init,
        initial_carry=initial_carry,
        project=project,
        recur=recur if reset_after else recur_before,
        gates=gates if reset_after else gates_before,
        update=update,
        output=output,
        spec=spec_of(
            "gru",
            hidden=hidden,
            reset_after=None if reset_after else False,  # what is usual goes unsaid
            update_bias=update_bias,
            dtype=dtype,
        ),
    )

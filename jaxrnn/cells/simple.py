"""The simple RNN (Elman 1990, https://doi.org/10.1207/s15516709cog1402_1).

h' = φ(x Wx + h Wh + b)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells.options import Draw, activation_of, check_hidden, zeros
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal


class SimpleRNNParams(NamedTuple):
    """Parameters of `simple_rnn`: wx [F, H], wh [H, H], b [H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class SimpleRNNGates(NamedTuple):
    """The one activation of `simple_rnn`: h [*batch, H]."""

    h: jax.Array


def project(params, x):
    return (x @ params.wx + aligned(params.b, x),)


def recur(params, h, z):
    return (z[0] + h @ params.wh,)


def update(params, h, gates):
    return gates.h


def output(params, h):
    return h


@factory
def simple_rnn(
    hidden: int,
    *,
    activation: str | Callable = "tanh",
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The simple (Elman) RNN: ``h' = φ(x Wx + h Wh + b)``; its carry is ``h``.

    Args:
        hidden: H, the width of the state.
        activation: φ: "tanh", "relu", or any element-wise function.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel.
        recurrent_init: ``(key, (H, H), dtype)``, the recurrent kernel.
        bias_init: ``(key, H, dtype) -> b [H]``; None is zeros.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `SimpleRNNParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: for a width that is not a positive integer or an unknown activation.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.simple_rnn(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    phi, named = activation_of(activation)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        return SimpleRNNParams(*draw.dense("h", key, features, hidden))

    def initial_carry(params, x):
        return zeros(x, hidden)

    def gates(params, h, pre):
        return SimpleRNNGates(h=phi(pre[0]))

    return gated(
        init=init,
        initial_carry=initial_carry,
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of("simple_rnn", hidden=hidden, activation=named, dtype=dtype),
    )

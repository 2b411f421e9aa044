"""IndRNN, in which a unit remembers itself alone: Li et al. 2018, arXiv:1803.04831.

    h' = φ(x Wx + u h + b)

u is a vector: units meet in the next layer.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import wide
from jaxrnn.cell import Cell
from jaxrnn.cells.options import (
    activation_of,
    check_features,
    check_hidden,
    draw_bias,
    times,
    zeros,
)
from jaxrnn.cells.simple import SimpleRNNGates, output, project, update
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, per_gate


class IndRNNParams(NamedTuple):
    """Parameters of `ind_rnn`: wx [F, H], u [H], b [H]."""

    wx: jax.Array
    u: jax.Array
    b: jax.Array


def recur(params, h, z):
    return (z[0] + times(params.u, h),)


def uniform(key: jax.Array, shape: tuple, dtype=None) -> jax.Array:
    """Uniform in 0 to 1: units that remember for one step, for many, and in between."""
    return jax.random.uniform(key, shape, jnp.zeros((), dtype).dtype)


@factory
def ind_rnn(
    hidden: int,
    *,
    activation: str | Callable = "relu",
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = uniform,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The independently recurrent network: ``h' = φ(x Wx + u h + b)``; carry ``h``.

    Args:
        hidden: H, the width of the state.
        activation: φ: "relu", "tanh", or any element-wise function.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel.
        recurrent_init: ``(key, (H,), dtype)``, u; the default is uniform in 0 to 1, as in
            the paper. With u up to 2^(1/T) a unit grows at most twofold in T steps.
        bias_init: ``(key, H, dtype) -> b [H]``; None is zeros.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `IndRNNParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: as `simple_rnn`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.stack(jaxrnn.ind_rnn(8), jaxrnn.ind_rnn(4))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> hs.shape
        (5, 2, 4)
    """
    hidden = check_hidden(hidden)
    phi, named = activation_of(activation)

    def init(key, features):
        kx, kh, kb = jax.random.split(key, 3)
        features = check_features(features)
        u = recurrent_init(kh, (hidden,), wide(jnp.zeros((), dtype).dtype))
        return IndRNNParams(
            wx=per_gate(kernel_init, 1, kx, (features, hidden), dtype),
            u=u.astype(jnp.zeros((), dtype).dtype),
            b=draw_bias("h", bias_init, kb, hidden, dtype),
        )

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=project,
        recur=recur,
        gates=lambda params, h, pre: SimpleRNNGates(h=phi(pre[0])),
        update=update,
        output=output,
        spec=spec_of("ind_rnn", hidden=hidden, activation=named, dtype=dtype),
    )

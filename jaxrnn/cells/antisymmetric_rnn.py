"""Two RNNs whose state neither grows nor fades: Chang et al. 2019, arXiv:1902.09689.

With A = U - Uᵀ - γ 1, U strictly upper triangular, the step is Euler's of
dh/dt = tanh(x Wn + h A + bn), whose Jacobian has eigenvalues near the imaginary axis:

    n = tanh(x Wn + h A + bn)
    h' = h + ε n                          without a gate
    z = σ(x Wz + h A + bz)
    h' = h + ε z n                        with one

Gate and candidate share A.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned, wide
from jaxrnn.cell import Cell
from jaxrnn.cells.gru import output
from jaxrnn.cells.options import (
    beside,
    check_features,
    check_flag,
    check_hidden,
    check_number,
    draw_bias,
    zeros,
)
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, per_gate
from jaxrnn.sigmoid import sigmoid


class AntisymmetricRNNParams(NamedTuple):
    """Parameters of `antisymmetric_rnn`: wx [F, H], u [H (H - 1) / 2], b [H].

    u is what is above the diagonal of U, row by row. With a gate wx is [F, 2H] and b [2H],
    packed z, n.
    """

    wx: jax.Array
    u: jax.Array
    b: jax.Array


class AntisymmetricRNNGates(NamedTuple):
    """The candidate n in (-1, 1): [*batch, H]."""

    n: jax.Array


class GatedAntisymmetricRNNGates(NamedTuple):
    """The gate z in (0, 1) and the candidate n in (-1, 1): [*batch, H]."""

    z: jax.Array
    n: jax.Array


def antisymmetric(u: jax.Array, hidden: int) -> jax.Array:
    """``U - Uᵀ [H, H]`` of what is above the diagonal of U."""
    rows, columns = np.triu_indices(hidden, 1)
    place = np.zeros((hidden, hidden), np.int32)
    place[rows, columns] = 1 + np.arange(u.size)
    place[columns, rows] = 1 + u.size + np.arange(u.size)
    return jnp.concatenate([jnp.zeros(1, u.dtype), u, -u])[place]


def normal(key: jax.Array, shape: tuple, dtype=None) -> jax.Array:
    """Of variance 1 / H for a vector of H (H - 1) / 2 numbers."""
    hidden = (1 + math.isqrt(1 + 8 * shape[0])) // 2
    return jax.random.normal(key, shape, jnp.zeros((), dtype).dtype) * hidden**-0.5


@factory
def antisymmetric_rnn(
    hidden: int,
    *,
    gate: bool = False,
    epsilon: float | jax.Array = 0.1,
    gamma: float | jax.Array = 0.01,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = normal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The AntisymmetricRNN: ``h' = h + ε tanh(x W + h (U - Uᵀ - γ) + b)``; carry ``h``.

    Args:
        hidden: H, the width of the state; at least 2.
        gate: whether a gate z scales what enters: ``h' = h + ε z n``.
        epsilon: ε, the step in time. A number, or a traced value.
        gamma: γ, the diffusion that keeps Euler's steps stable. A number, or a traced
            value.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (H (H - 1) / 2,), dtype)``, what is above the diagonal of
            U; the default is normal with the variance 1 / H.
        bias_init: ``(key, H, dtype) -> b``, [H], or [2H] with a gate; None is zeros.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `AntisymmetricRNNParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: for a width below 2, a flag that is no bool, or an ε or γ that is no
            number.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.antisymmetric_rnn(hidden=4, gate=True)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, params.u.shape
        ((2, 4), (6,))
    """
    hidden = check_hidden(hidden, least=2)
    check_flag("gate", gate)
    check_number("epsilon", epsilon)
    check_number("gamma", gamma)
    letters = "zn" if gate else "n"

    def init(key, features):
        kx, kh, kb = jax.random.split(key, 3)
        shape = check_features(features), hidden
        of = jnp.zeros((), dtype).dtype
        u = recurrent_init(kh, (hidden * (hidden - 1) // 2,), wide(of))
        return AntisymmetricRNNParams(
            wx=per_gate(kernel_init, len(letters), kx, shape, dtype),
            u=u.astype(of),
            b=draw_bias(letters, bias_init, kb, hidden, dtype),
        )

    def project(params, x):
        z = x @ params.wx + aligned(params.b, x)
        return tuple(jnp.split(z, len(letters), axis=-1))

    def recur(params, h, z):
        a = h @ antisymmetric(params.u, hidden) - beside(gamma, z[0]) * h
        return tuple(one + a for one in z)

    def gates(params, h, pre):
        if not gate:
            return AntisymmetricRNNGates(jnp.tanh(pre[0]))
        return GatedAntisymmetricRNNGates(sigmoid(pre[0]), jnp.tanh(pre[1]))

    def update(params, h, gates):
        enters = gates.z * gates.n if gate else gates.n
        return h + beside(epsilon, enters) * enters

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "antisymmetric_rnn",
            hidden=hidden,
            gate=gate or None,
            epsilon=epsilon,
            gamma=gamma,
            dtype=dtype,
        ),
    )

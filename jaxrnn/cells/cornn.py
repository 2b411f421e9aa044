"""The coupled oscillatory RNN: Rusch & Mishra 2021, arXiv:2010.00951.

A network of oscillators, y'' = tanh(W y + 𝒲 y' + V x + b) - γ y - ε y', in steps of Δt:

    n = tanh(x V + h Wh + v Wv + b)
    v' = v + Δt (n - γ h - ε v)     the velocity
    h' = h + Δt v'                  the position
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.lstm import output
from jaxrnn.cells.options import Draw, beside, check_hidden, check_number, zeros
from jaxrnn.cells.simple import project
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal


class CoRNNParams(NamedTuple):
    """Parameters of `cornn`: wx [F, H], wh [2H, H], b [H]; wh reads h and then v."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class CoRNNCarry(NamedTuple):
    """The oscillators' positions h and velocities v, both [*batch, H]."""

    h: jax.Array
    v: jax.Array


class CoRNNGates(NamedTuple):
    """The force n in (-1, 1): [*batch, H]."""

    n: jax.Array


def recur(params, carry, z):
    return (z[0] + jnp.concatenate(carry, -1) @ params.wh,)


def gates(params, carry, pre):
    return CoRNNGates(jnp.tanh(pre[0]))


@factory
def cornn(
    hidden: int,
    *,
    dt: float | jax.Array = 0.05,
    gamma: float | jax.Array = 1.0,
    epsilon: float | jax.Array = 1.0,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The coRNN: oscillators that the input drives and that drive each other.

    Args:
        hidden: H, how many oscillators.
        dt: Δt, the step in time. A number, an array [H] or a traced value.
        gamma: γ, the squared frequency of an oscillator alone, likewise.
        epsilon: ε, the damping, likewise.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel.
        recurrent_init: ``(key, (2H, H), dtype)``, the kernel of positions and velocities.
        bias_init: ``(key, H, dtype) -> b [H]``; None is zeros.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `CoRNNParams` and a carry `CoRNNCarry`. It shows h.

    Raises:
        ValueError: for a width that is not a positive integer, or a dt, gamma or epsilon
            of another shape.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.cornn(hidden=4, gamma=2.7, epsilon=4.7)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.v.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    for name, value in dict(dt=dt, gamma=gamma, epsilon=epsilon).items():
        check_number(name, value, hidden)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        return CoRNNParams(*draw.dense("n", key, features, hidden, shown=2 * hidden))

    def update(params, carry, gates):
        h, v = carry
        step, stiff, damping = (
            beside(value, gates.n) for value in (dt, gamma, epsilon)
        )
        v = v + step * (gates.n - stiff * h - damping * v)
        return CoRNNCarry(h=h + step * v, v=v)

    return gated(
        init=init,
        initial_carry=lambda params, x: CoRNNCarry(zeros(x, hidden), zeros(x, hidden)),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "cornn", hidden=hidden, dt=dt, gamma=gamma, epsilon=epsilon, dtype=dtype
        ),
    )

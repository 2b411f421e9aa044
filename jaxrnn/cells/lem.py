"""Long expressive memory: Rusch et al. 2022, arXiv:2110.04744.

    a = Δt σ(x Wa + h Ua + ba)       the step of c, of each unit its own
    d = Δt σ(x Wd + h Ud + bd)       the step of h
    n = tanh(x Wn + h Un + bn)
    c' = (1 - a) c + a n
    m = tanh(x Wm + c' Um + bm)
    h' = (1 - d) h + d m

(The paper writes y for h and z for c.)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.lstm import LSTMCarry, output, project
from jaxrnn.cells.options import Draw, beside, check_hidden, check_number, zeros
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class LEMParams(NamedTuple):
    """Parameters of `lem`, gates packed a, d, n, m: wx [F, 4H], wh [H, 4H], b [4H].

    The last quarter of wh reads the new c, the others h.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class LEMGates(NamedTuple):
    """Steps a and d in (0, Δt), candidates n of c and m of h in (-1, 1): [*batch, H]."""

    a: jax.Array
    d: jax.Array
    n: jax.Array
    m: jax.Array


def recur(params, carry, z):
    three = jnp.split(carry.h @ params.wh[:, : 3 * carry.h.shape[-1]], 3, axis=-1)
    return *map(jnp.add, z[:3], three), z[3]


def new_c(carry, a, n):
    return (1 - a) * carry.c + a * n


def update(params, carry, gates):
    a, d, n, m = gates
    return LSTMCarry(h=(1 - d) * carry.h + d * m, c=new_c(carry, a, n))


@factory
def lem(
    hidden: int,
    *,
    dt: float | jax.Array = 1.0,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """Long expressive memory: two states, each with steps in time that are gates.

    Args:
        hidden: H, the width of h and of c.
        dt: Δt, the longest step in time. A number, an array [H] or a traced value.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (H, H), dtype)``, the recurrent kernel of one gate.
        bias_init: ``(key, H, dtype) -> b [4H]``; None is zeros.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `LEMParams` and a carry `LSTMCarry`. It shows h.

    Raises:
        ValueError: for a width that is not a positive integer, or a dt of another shape.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.lem(hidden=4, dt=0.5)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> carry.c.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    check_number("dt", dt, hidden)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        return LEMParams(*draw.dense("adnm", key, features, hidden))

    def gates(params, carry, pre):
        a, d, n, m = pre
        longest = beside(dt, a)
        a, d, n = longest * sigmoid(a), longest * sigmoid(d), jnp.tanh(n)
        m = jnp.tanh(m + new_c(carry, a, n) @ params.wh[:, -hidden:])
        return LEMGates(a, d, n, m)

    return gated(
        init=init,
        initial_carry=lambda params, x: LSTMCarry(zeros(x, hidden), zeros(x, hidden)),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of("lem", hidden=hidden, dt=dt, dtype=dtype),
    )

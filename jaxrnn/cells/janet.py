"""JANET, just another network: the LSTM with the forget gate alone.

    f = σ(x Wf + h Uf + bf)          what the memory keeps
    i = 1 - σ(x Wf + h Uf + bf - β)  what enters: more than was forgotten
    g = tanh(x Wg + h Ug + bg)
    h' = f h + i g

van der Westhuizen & Lasenby 2018, arXiv:1804.04849.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.options import (
    Draw,
    beside,
    check_hidden,
    check_number,
    gate_bias,
    zeros,
)
from jaxrnn.cells.ugrnn import output, project, recur
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class JANETParams(NamedTuple):
    """Parameters of `janet`, gates packed f, g: wx [F, 2H], wh [H, 2H], b [2H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class JANETGates(NamedTuple):
    """Forget f and input i in (0, 1), candidate g in (-1, 1): [*batch, H]."""

    f: jax.Array
    i: jax.Array
    g: jax.Array


def update(params, h, gates):
    f, i, g = gates
    return f * h + i * g


@factory
def janet(
    hidden: int,
    *,
    beta: float | jax.Array = 1.0,
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """JANET: ``h' = f h + i g`` with one gate, ``i = 1 - σ(σ⁻¹(f) - β)``; carry ``h``.

    Args:
        hidden: H, the width of the state.
        beta: β: how much more enters than was forgotten. A number, an array [H] or a
            traced value.
        forget_bias: the initial bias of f, a number, an array [H] or a traced value; None
            is 1.0.
        kernel_init, recurrent_init, dtype: as of `lstm`.
        bias_init: ``(key, H, dtype) -> b [2H]`` in place of zeros and `forget_bias`. The
            paper's is ``initializers.chrono(T, "fg")``.

    Returns:
        A cell with params `JANETParams` and a carry ``h [*batch, H]``.

    Raises:
        ValueError: as `lstm`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.janet(4, bias_init=jaxrnn.initializers.chrono(100, "fg"))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    check_number("beta", beta, hidden)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        return JANETParams(*draw.dense("fg", key, features, hidden, f=start_bias))

    def gates(params, h, pre):
        f, g = pre
        return JANETGates(sigmoid(f), sigmoid(beside(beta, f) - f), jnp.tanh(g))

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "janet", hidden=hidden, beta=beta, forget_bias=forget_bias, dtype=dtype
        ),
    )

"""The minimal gated unit: one gate for both of the GRU's (Zhou et al. 2016).

    f = σ(x Wf + h Uf + bf)               what the memory keeps
    n = tanh(x Wn + bn + f (h Un + bh))   what could enter
    h' = (1 - f) n + f h

This is Flax's, in which f resets after the matmul. In the paper (arXiv:1603.09420), which
writes 1 - f for f, what is replaced is also what n sees:

    n = tanh(x Wn + ((1 - f) h) Un + bn)
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
from jaxrnn.cells.ugrnn import output, project
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class MGUParams(NamedTuple):
    """Parameters of `mgu`, gates packed f, n: wx [F, 2H], wh [H, 2H], b [2H], bn [H].

    ``bn`` is the recurrent bias of n, which f scales.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    bn: jax.Array


class ResetBeforeMGUParams(NamedTuple):
    """Parameters of `mgu` with ``reset_after=False``: wx [F, 2H], wh [H, 2H], b [2H]."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class MGUGates(NamedTuple):
    """Keep f in (0, 1), candidate n in (-1, 1): [*batch, H]."""

    f: jax.Array
    n: jax.Array


def recur(params, h, z):
    xf, xn = z
    hf, hn = jnp.split(h @ params.wh, 2, axis=-1)
    return xf + hf, xn, hn + aligned(params.bn, hn)


def gates(params, h, pre):
    f, n, hn = pre
    f = sigmoid(f)
    return MGUGates(f, jnp.tanh(n + f * hn))


def recur_before(params, h, z):
    return z[0] + h @ params.wh[:, : h.shape[-1]], z[1]


def gates_before(params, h, pre):
    f, n = pre
    replaced = sigmoid(-f) * h
    return MGUGates(sigmoid(f), jnp.tanh(n + replaced @ params.wh[:, h.shape[-1] :]))


def update(params, h, gates):
    f, n = gates
    return (1 - f) * n + f * h


@factory
def mgu(
    hidden: int,
    *,
    reset_after: bool = True,
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The minimal gated unit: ``h' = (1 - f) n + f h``, f also resets; carry ``h``.

    Args:
        hidden: H, the width of the state.
        reset_after: True: f resets after the matmul, as in Flax,
            ``n = tanh(x W + b + f (h U + bn))``; False: before it, as in the paper,
            ``n = tanh(x W + b + ((1 - f) h) U)``.
        forget_bias: the initial bias of the keep gate f, a number, an array [H] or a
            traced value; None is 1.0.
        kernel_init, recurrent_init, dtype: as of `gru`.
        bias_init: ``(key, H, dtype) -> b [2H]`` in place of zeros and `forget_bias`, such
            as ``initializers.chrono(T, "fn")``.

    Returns:
        A cell with params `MGUParams`, or `ResetBeforeMGUParams`, and a carry
        ``h [*batch, H]``.

    Raises:
        ValueError: as `gru`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.mgu(hidden=4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (5, 2, 4))
    """
    hidden = check_hidden(hidden)
    check_flag("reset_after", reset_after)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("fn", key, features, hidden, f=start_bias)
        if not reset_after:
            return ResetBeforeMGUParams(*dense)
        return MGUParams(*dense, bn=draw.full(hidden, 0))

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=project,
        recur=recur if reset_after else recur_before,
        gates=gates if reset_after else gates_before,
        update=update,
        output=output,
        spec=spec_of(
            "mgu",
            hidden=hidden,
            reset_after=None if reset_after else False,
            forget_bias=forget_bias,
            dtype=dtype,
        ),
    )

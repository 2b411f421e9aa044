"""sLSTM, the LSTM with exponential gates: Beck et al. 2024, arXiv:2405.04517.

    (ĩ, f̃, g̃, õ) = x Wx + h Wh + b      Wh: a block for each head
    m' = max(f̃ + m, ĩ)                   how large the exponents have become
    i = exp(ĩ - m'),  f = exp(f̃ + m - m')
    c' = f c + i tanh(g̃)
    n' = f n + i                          what c' is a mean over
    h' = σ(õ) c' / n'

m changes no value: c and n are both scaled by e⁻ᵐ, so that nothing overflows. The forget
gate may be the sigmoid instead of exp; then f̃ is log σ(f̃).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.lstm import output, project
from jaxrnn.cells.options import (
    check_features,
    check_hidden,
    check_width,
    draw_bias,
    gate_bias,
    zeros,
)
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal, per_gate
from jaxrnn.sigmoid import sigmoid


class SLSTMParams(NamedTuple):
    """Parameters of `slstm`, N heads: wx [F, 4H], wh [N, H/N, 4H/N], b [4H].

    Gates are packed i, f, g, o. wh[k] reads the k-th part of h and speaks to the k-th
    part of each gate.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class SLSTMCarry(NamedTuple):
    """h, the cell state c, its normaliser n and its stabiliser m: [*batch, H]."""

    h: jax.Array
    c: jax.Array
    n: jax.Array
    m: jax.Array


class SLSTMGates(NamedTuple):
    """Input i and forget f, both scaled by e⁻ᵐ, candidate g, output o; m: [*batch, H]."""

    i: jax.Array
    f: jax.Array
    g: jax.Array
    o: jax.Array
    m: jax.Array


def recur(params, carry, z):
    heads, width, _ = params.wh.shape
    apart = carry.h.reshape(*carry.h.shape[:-1], heads, width)
    four = jnp.split(jnp.einsum("...kd,kde->...ke", apart, params.wh), 4, axis=-1)
    return tuple(a + b.reshape(a.shape) for a, b in zip(z, four, strict=True))


def update(params, carry, gates):
    i, f, g, o, m = gates
    c, n = f * carry.c + i * g, f * carry.n + i
    return SLSTMCarry(h=o * c / n, c=c, n=n, m=m)


FORGETS = {"sigmoid": jax.nn.log_sigmoid, "exp": lambda f: f}


@factory
def slstm(
    hidden: int,
    *,
    heads: int = 1,
    forget: str = "sigmoid",
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """sLSTM: exponential gates, a normaliser and a stabiliser; ``h' = o c' / n'``.

    Args:
        hidden: H, the width of h and of each of its memories.
        heads: N, how many groups of units remember apart; divides H.
        forget: "sigmoid" or "exp", of which f is made.
        forget_bias: the initial bias of the forget gate, a number, an array [H] or a
            traced value; None is 1.0.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (H / N, H / N), dtype)``, the recurrent kernel of one gate
            of one head.
        bias_init, dtype: as of `lstm`.

    Returns:
        A cell with params `SLSTMParams` and a carry `SLSTMCarry`.

    Raises:
        ValueError: as `lstm`, for heads that do not divide the width, and for another
            forget gate.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.slstm(hidden=6, heads=2)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 3)))
        >>> params.wh.shape, hs.shape
        ((2, 3, 12), (5, 2, 6))
    """
    hidden, heads = check_hidden(hidden), check_width("heads", heads)
    if hidden % heads:
        raise ValueError(f"heads: expected a divisor of hidden, {hidden}, got {heads}.")
    if forget not in FORGETS:
        raise ValueError(f"forget: expected one of {sorted(FORGETS)}, got {forget!r}.")
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    width = hidden // heads

    def init(key, features):
        kx, kh, kb = jax.random.split(key, 3)
        shape = check_features(features), hidden
        blocks = [
            per_gate(recurrent_init, 4, k, (width, width), dtype)
            for k in jax.random.split(kh, heads)
        ]
        return SLSTMParams(
            wx=per_gate(kernel_init, 4, kx, shape, dtype),
            wh=jnp.stack(blocks),
            b=draw_bias("ifgo", bias_init, kb, hidden, dtype, f=start_bias),
        )

    def gates(params, carry, pre):
        i, f, g, o = pre
        kept = FORGETS[forget](f) + carry.m
        # Where nothing has entered yet, m says nothing about how large the memory is.
        m = jnp.where(carry.n == 0, i, jnp.maximum(kept, i))
        f = jnp.exp(jnp.minimum(kept - m, 0))  # at most 1 but there, where all is zero
        return SLSTMGates(jnp.exp(i - m), f, jnp.tanh(g), sigmoid(o), m)

    return gated(
        init=init,
        initial_carry=lambda params, x: SLSTMCarry(*[zeros(x, hidden)] * 4),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        spec=spec_of(
            "slstm",
            hidden=hidden,
            heads=None if heads == 1 else heads,
            forget=None if forget == "sigmoid" else forget,
            forget_bias=forget_bias,
            dtype=dtype,
        ),
    )

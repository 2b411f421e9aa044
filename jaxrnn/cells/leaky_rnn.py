"""The leaky RNN, the rate network of computational neuroscience: Song et al. 2016.

    v' = (1 - α) v + α (x Wx + h Wh + b),  α = Δt / τ    the current, which leaks
    h' = φ(v')                                           the firing rate

https://doi.org/10.1371/journal.pcbi.1004792. Units may be excitatory or inhibitory
(Dale's principle), and connections may be missing. Recurrent noise is
`jaxrnn.noise.gaussian` on the pre-activations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.cells.options import (
    Draw,
    activation_of,
    beside,
    check_flag,
    check_hidden,
    check_number,
    zeros,
)
from jaxrnn.cells.simple import SimpleRNNParams, project
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class LeakyRNNParams(NamedTuple):
    """Parameters of `leaky_rnn` that learns τ: wx [F, H], wh [H, H], b [H], leak [H].

    α = σ(leak).
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    leak: jax.Array


class LeakyRNNGates(NamedTuple):
    """The current n that drives a unit: [*batch, H]."""

    n: jax.Array


def gates(params, v, pre):
    return LeakyRNNGates(pre[0])


@factory
def leaky_rnn(
    hidden: int,
    *,
    tau: float | jax.Array = 100.0,
    dt: float | jax.Array = 20.0,
    learn_tau: bool = False,
    activation: str | Callable = "relu",
    signs: Any = None,
    mask: Any = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The leaky RNN: ``v' = (1 - α) v + α (x Wx + h Wh + b)``, ``h' = φ(v')``; carry v.

    Args:
        hidden: H, how many units.
        tau: τ, the time constant, as of `dt` in milliseconds or any other unit: a number,
            an array [H] or a traced value, above `dt`.
        dt: Δt, the time of one step, likewise.
        learn_tau: whether τ is a parameter, of each unit its own, that starts at `tau`.
            It stays above `dt`.
        activation: φ: "relu", "tanh", or any element-wise function.
        signs: of the connections that leave each unit: an array [H] of 1, excitatory, and
            -1, inhibitory. Then Wh is ``signs |wh|``. (The paper has the positive part of
            wh in place of |wh|.)
        mask: which connections there are: bool [H, H], row j those that leave unit j.
        kernel_init: ``(key, (F, H), dtype)``, the input kernel.
        recurrent_init: ``(key, (H, H), dtype)``, the recurrent kernel.
        bias_init: ``(key, H, dtype) -> b [H]``; None is zeros.
        dtype: of the parameters; None is JAX's default float.

    Returns:
        A cell with params `SimpleRNNParams`, or `LeakyRNNParams` if it learns τ, and a
        carry ``v [*batch, H]``.

    Raises:
        ValueError: for a width that is not a positive integer, an unknown activation, and
            time constants, signs or a mask of another shape or that are none.

    Example:
        Four units in five excite, and no unit excites itself:

        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.leaky_rnn(
        ...     5, signs=jnp.array([1, 1, 1, 1, -1]), mask=~jnp.eye(5, dtype=bool)
        ... )
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> v, hs = jaxrnn.unroll(cell, params, None, jnp.ones((6, 2, 3)))
        >>> v.shape, hs.shape
        ((2, 5), (6, 2, 5))
    """
    hidden = check_hidden(hidden)
    phi, named = activation_of(activation)
    check_number("tau", tau, hidden)
    check_number("dt", dt, hidden)
    check_flag("learn_tau", learn_tau)
    if not isinstance(tau, jax.Array) and not isinstance(dt, jax.Array):
        if not (
            np.all(np.asarray(dt) > 0) and np.all(np.asarray(tau) > np.asarray(dt))
        ):
            raise ValueError(f"tau: expected more than dt, {dt}, above 0, got {tau}.")
    signs, mask = _signs(signs, hidden), _mask(mask, hidden)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        dense = draw.dense("h", key, features, hidden)
        if not learn_tau:
            return SimpleRNNParams(*dense)
        # σ(leak) = dt / tau
        leak = draw.full(hidden, -jnp.log(jnp.asarray(tau) / jnp.asarray(dt) - 1))
        return LeakyRNNParams(*dense, leak=leak)

    def kernel(wh):
        w = wh if signs is None else jnp.abs(wh) * jnp.asarray(signs, wh.dtype)[:, None]
        return w if mask is None else jnp.where(mask, w, 0)

    def recur(params, v, z):
        return (z[0] + phi(v) @ kernel(params.wh),)

    def update(params, v, gates):
        alpha = sigmoid(params.leak) if learn_tau else jnp.asarray(dt) / tau
        return v + beside(alpha, gates.n) * (gates.n - v)

    return gated(
        init=init,
        initial_carry=lambda params, x: zeros(x, hidden),
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=lambda params, v: phi(v),
        spec=spec_of(
            "leaky_rnn",
            hidden=hidden,
            tau=tau,
            dt=dt,
            learn_tau=learn_tau or None,
            activation=named,
            signs=signs,
            mask=mask,
            dtype=dtype,
        ),
    )


def _signs(signs: Any, hidden: int) -> np.ndarray | None:
    """The signs of the units. Raises ValueError unless they are 1 and -1, or None."""
    if signs is None:
        return None
    signs = np.asarray(signs)
    if signs.shape != (hidden,) or not np.isin(signs, (-1, 1)).all():
        raise ValueError(
            f"signs: expected [{hidden}] of 1 and -1, got {signs.dtype} "
            f"{list(signs.shape)}."
        )
    return signs


def _mask(mask: Any, hidden: int) -> np.ndarray | None:
    """The connections. Raises ValueError unless they are bool [H, H], or None."""
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.shape != (hidden, hidden) or mask.dtype != bool:
        raise ValueError(
            f"mask: expected bool [{hidden}, {hidden}], got {mask.dtype} "
            f"{list(mask.shape)}. Of numbers, mask != 0 makes it."
        )
    return mask

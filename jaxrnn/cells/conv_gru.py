"""The GRU of images: Ballas et al. 2016, arXiv:1511.06432.

As `gru`, with convolutions ∗ over space in place of the matmuls, and as in the paper r
before the convolution:

    r = σ(x ∗ Wr + h ∗ Ur + br)
    z = σ(x ∗ Wz + h ∗ Uz + bz)
    n = tanh(x ∗ Wn + (r h) ∗ Un + bn)
    h' = (1 - z) n + z h

or after it, with one convolution a step: n = tanh(x ∗ Wn + bn + r (h ∗ Un + bh)).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells import gru
from jaxrnn.cells.convolution import images
from jaxrnn.cells.gru import GRUGates
from jaxrnn.cells.options import Draw, check_flag, check_hidden, gate_bias
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.sigmoid import sigmoid


class ConvGRUParams(NamedTuple):
    """Parameters of `conv_gru`, gates packed r, z, n.

    wx [*kernel, F, 3H], wh [*recurrent_kernel, H, 3H], b [3H], and bn [H], the recurrent
    bias of n, which r scales.
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    bn: jax.Array


class ResetBeforeConvGRUParams(NamedTuple):
    """Parameters of `conv_gru` with ``reset_after=False``: those without bn."""

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


@factory
def conv_gru(
    hidden: int,
    kernel: int | tuple[int, ...],
    *,
    reset_after: bool = True,
    recurrent_kernel: int | tuple[int, ...] | None = None,
    strides: int | tuple[int, ...] = 1,
    padding: Any = "SAME",
    dilation: int | tuple[int, ...] = 1,
    update_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The convolutional GRU: its inputs and its memory are images.

    Args:
        hidden: H, the channels of the state.
        kernel, recurrent_kernel, strides, padding, dilation: as of `conv_lstm`.
        reset_after: whether r acts after the recurrent convolution, as in `gru`, or
            before it, as in the paper.
        update_bias: as of `gru`; an array [H] has a value for each channel.
        kernel_init: ``(key, (*kernel, F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (*kernel, H, H), dtype)``, the recurrent kernel of one gate.
        bias_init, dtype: as of `gru`.

    Returns:
        A cell of ``xs [T, *batch, *space, F]`` with params `ConvGRUParams`, or
        `ResetBeforeConvGRUParams`, and a carry ``h [*batch, *space, H]``. Its
        ``event_ndim`` is 1 and the spatial dimensions.

    Raises:
        ValueError: as `gru` and `conv_lstm`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.conv_gru(4, kernel=5)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> h, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 8, 3)))
        >>> h.shape, hs.shape
        ((2, 8, 4), (5, 2, 8, 4))
    """
    hidden = check_hidden(hidden)
    check_flag("reset_after", reset_after)
    convs = images(kernel, recurrent_kernel, strides, padding, dilation)
    start_bias = gate_bias("update_bias", update_bias, 0.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        drawn = convs.draw("rzn", draw, key, features, hidden, z=start_bias)
        if not reset_after:
            return ResetBeforeConvGRUParams(*drawn)
        return ConvGRUParams(*drawn, bn=draw.full(hidden, 0))

    def project(params, x):
        z = convs.of_input(x, params.wx)
        return tuple(jnp.split(z + aligned(params.b, z), 3, axis=-1))

    def recur(params, h, z):
        xr, xz, xn = z
        hr, hz, hn = jnp.split(convs.of_memory(h, params.wh), 3, axis=-1)
        return xr + hr, xz + hz, xn, hn + aligned(params.bn, hn)

    def recur_before(params, h, z):
        xr, xz, xn = z
        w = params.wh[..., : 2 * hidden]
        hr, hz = jnp.split(convs.of_memory(h, w), 2, axis=-1)
        return xr + hr, xz + hz, xn

    def gates_before(params, h, pre):
        r, z, n = pre
        r = sigmoid(r)
        n = n + convs.of_memory(r * h, params.wh[..., 2 * hidden :])
        return GRUGates(r, sigmoid(z), jnp.tanh(n))

    return gated(
        init=init,
        initial_carry=lambda params, x: convs.zeros(x, hidden),
        project=project,
        recur=recur if reset_after else recur_before,
        gates=gru.gates if reset_after else gates_before,
        update=gru.update,
        output=gru.output,
        event_ndim=1 + convs.of_input.ndim,
        spec=spec_of(
            "conv_gru",
            hidden=hidden,
            **convs.spec(),
            reset_after=None if reset_after else False,
            update_bias=update_bias,
            dtype=dtype,
        ),
    )

"""The LSTM of images: Shi et al. 2015, arXiv:1506.04214, without its peepholes.

As `lstm`, with convolutions ∗ over space in place of the matmuls:

    i = σ(x ∗ Wi + h ∗ Ui + bi)        and f, g and o likewise

As in Keras, Flax and Haiku, there are no peepholes: theirs would have a weight for each
pixel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn._tree import aligned
from jaxrnn.cell import Cell
from jaxrnn.cells.convolution import images
from jaxrnn.cells.lstm import LSTMCarry, gates, output, update
from jaxrnn.cells.options import Draw, check_hidden, gate_bias
from jaxrnn.gated import gated
from jaxrnn.initializers import glorot_uniform, orthogonal


class ConvLSTMParams(NamedTuple):
    """Parameters of `conv_lstm`, gates packed i, f, g, o.

    wx [*kernel, F, 4H], wh [*recurrent_kernel, H, 4H], b [4H].
    """

    wx: jax.Array
    wh: jax.Array
    b: jax.Array


@factory
def conv_lstm(
    hidden: int,
    kernel: int | tuple[int, ...],
    *,
    recurrent_kernel: int | tuple[int, ...] | None = None,
    strides: int | tuple[int, ...] = 1,
    padding: Any = "SAME",
    dilation: int | tuple[int, ...] = 1,
    forget_bias: float | jax.Array | None = None,
    kernel_init: Callable = glorot_uniform,
    recurrent_init: Callable = orthogonal,
    bias_init: Callable | None = None,
    dtype=None,
) -> Cell:
    """The convolutional LSTM: its inputs and its memory are images.

    Args:
        hidden: H, the channels of h and of c.
        kernel: the size of the input kernel, an integer for each of 1, 2 or 3 spatial
            dimensions; one integer is a kernel of 1 dimension.
        recurrent_kernel: the size of the recurrent kernel, likewise; None is `kernel`.
        strides, padding, dilation: of the input's convolution: integers, or one for all
            dimensions; "SAME", "VALID" or a pair ``(low, high)`` for each dimension. The
            recurrent one keeps the size of the memory.
        forget_bias: as of `lstm`; an array [H] has a value for each channel.
        kernel_init: ``(key, (*kernel, F, H), dtype)``, the input kernel of one gate.
        recurrent_init: ``(key, (*kernel, H, H), dtype)``, the recurrent kernel of one gate.
        bias_init, dtype: as of `lstm`.

    Returns:
        A cell of ``xs [T, *batch, *space, F]`` with params `ConvLSTMParams` and a carry
        `LSTMCarry` of [*batch, *space, H]. Its ``event_ndim`` is 1 and the spatial
        dimensions.

    Raises:
        ValueError: as `lstm`, and for kernels, strides, padding or dilation that do not
            fit each other.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.conv_lstm(4, kernel=(3, 3), strides=2)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> carry, hs = jaxrnn.unroll(cell, params, None, jnp.ones((5, 2, 8, 8, 3)))
        >>> carry.c.shape, hs.shape
        ((2, 4, 4, 4), (5, 2, 4, 4, 4))
    """
    hidden = check_hidden(hidden)
    convs = images(kernel, recurrent_kernel, strides, padding, dilation)
    start_bias = gate_bias("forget_bias", forget_bias, 1.0, hidden, bias_init)
    draw = Draw(kernel_init, recurrent_init, bias_init, dtype)

    def init(key, features):
        drawn = convs.draw("ifgo", draw, key, features, hidden, f=start_bias)
        return ConvLSTMParams(*drawn)

    def initial_carry(params, x):
        return LSTMCarry(h=convs.zeros(x, hidden), c=convs.zeros(x, hidden))

    def project(params, x):
        z = convs.of_input(x, params.wx)
        return tuple(jnp.split(z + aligned(params.b, z), 4, axis=-1))

    def recur(params, carry, z):
        four = jnp.split(convs.of_memory(carry.h, params.wh), 4, axis=-1)
        return tuple(map(jnp.add, z, four))

    return gated(
        init=init,
        initial_carry=initial_carry,
        project=project,
        recur=recur,
        gates=gates,
        update=update,
        output=output,
        event_ndim=1 + convs.of_input.ndim,
        spec=spec_of(
            "conv_lstm",
            hidden=hidden,
            **convs.spec(),
            forget_bias=forget_bias,
            dtype=dtype,
        ),
    )

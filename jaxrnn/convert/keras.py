"""Keras's weight lists: kernel, recurrent kernel, bias; i f c o and z r h.

The GRU's bias has two rows, on x and on h. r scales the recurrent bias of h.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jaxrnn._time import check_flag
from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating
from jaxrnn.convert._assemble import assemble, only_one
from jaxrnn.convert._foreign import explained, ours
from jaxrnn.convert._kinds import kinds_of, layout_for
from jaxrnn.convert._nesting import nested, unnested
from jaxrnn.convert._packing import put_in, reordered, taken_out
from jaxrnn.convert._refusals import no_bias
from jaxrnn.convert._walk import (
    check_convolutions,
    check_options,
    put_together,
    take_apart,
)

NAMES = ("kernel", "recurrent_kernel", "bias")


def from_keras(
    weights: list,
    *,
    activation: str | Callable = "tanh",
    merge: str | Callable = "concat",
    reset_after: bool = True,
    strides: int | tuple[int, ...] = 1,
    padding: str = "VALID",
    dilation: int | tuple[int, ...] = 1,
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Keras's SimpleRNN, LSTM, GRU or ConvLSTM layers.

    Args:
        weights: ``layer.get_weights()``, or a list with those of each layer. Three
            arrays are a layer with biases, and two are one without. Six and four are a
            ``Bidirectional``. An ``RNN`` of several cells has as many arrays: give a
            list with ``cell.get_weights()`` of each cell.
        activation: of SimpleRNN layers. Weights do not show other options: gates must
            be sigmoid and candidates tanh.
        merge: of bidirectional layers, by jaxrnn's name: Keras's ``"sum"`` is
            ``"sum"``, ``"ave"`` is ``"mean"`` and ``"mul"`` is ``"product"``.
        reset_after: of GRUs without biases. Where there are some, they tell: two rows
            of them for True, one for False.
        strides, padding, dilation: of ConvLSTM1D, 2D and 3D layers, whose ``data_format``
            is channels last: as of `conv_lstm`, with Keras's defaults.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        A GRU's ``b`` has for r and z the sum of Keras's two biases, made in float64 and
        rounded once.

    Raises:
        ValueError: for another number of arrays, shapes that do not agree, and numbers
            that overflow the dtype.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import convert
        >>> random = np.random.RandomState(0)
        >>> weights = [random.randn(*shape) for shape in ((3, 16), (4, 16), (16,))]
        >>> cell, params = convert.from_keras(weights)
        >>> cell
        lstm(hidden=4)
    """
    check_flag("reset_after", reset_after)
    read = partial(_layers, dtype=floating(dtype), reset_after=reset_after)
    with explained("weights", weights, read):
        layers = read(weights)
    untold = dict(strides=strides, padding=padding, dilation=dilation)
    return put_together(layers, activation=activation, merge=merge, **untold)


def _layers(weights: Any, dtype: Any, reset_after: bool) -> list:
    if not isinstance(weights, list | tuple) or not weights or ours(weights):
        raise ValueError(
            "weights: expected layer.get_weights() or a list of them, got "
            f"{type(weights).__name__}."
        )
    several = all(isinstance(entry, list | tuple) for entry in weights)
    entries = [list(entry) for entry in weights] if several else [list(weights)]
    read = partial(_read, dtype=dtype, reset_after=reset_after)
    return nested("weights", entries, read, layer=_ways)


def _ways(weights: list) -> tuple | None:
    """The two halves of what a ``Bidirectional`` holds."""
    half = len(weights) // 2
    return (weights[:half], weights[half:]) if len(weights) in (4, 6) else None


def _read(name: str, weights: list, dtype: Any, reset_after: bool) -> Any:
    if len(weights) not in (2, 3):
        raise ValueError(
            f"{name}: expected 2 or 3 arrays (kernel, recurrent kernel, bias) per layer, "
            f"4 or 6 if it is bidirectional, got {len(weights)}. Of a whole model give "
            "[layer.get_weights() for layer in ...] of its recurrent layers."
        )
    found = [array(f"{name}: {n}", a) for n, a in zip(NAMES, weights, strict=False)]
    wx, wh, *biases = found
    kinds = [pair for pair in kinds_of("Keras") if pair[0].fits(wh, {})]
    two_rows = [pair for pair in kinds if pair[1].second_bias]
    if biases and biases[0].ndim == 1:
        kinds = [pair for pair in kinds if pair not in two_rows] or kinds
    elif biases or reset_after:
        kinds = two_rows or kinds
    else:
        kinds = [pair for pair in kinds if pair not in two_rows]
    read = partial(assemble, name, dtype=dtype, titles=(*NAMES, "bias[1]"))
    if not kinds:
        return read(wx, wh, biases, among=[kind for kind, _ in kinds_of("Keras")])
    kind = only_one(name, [kind for kind, _ in kinds])
    layout = kinds[0][1]
    turn = lambda a: reordered(a, layout.gates, kind.gates)
    read = partial(read, turn(wx), turn(wh), among=[kind])
    if not layout.second_bias:
        return read([*map(turn, biases)])
    if wx.ndim != 2 or wx.shape[1] != wh.shape[1] or not biases:
        return read()  # which says what is wrong with a kernel
    if biases[0].shape != (2, wh.shape[1]):
        raise ValueError(
            f"{name}: expected the bias of a {kind.title} [2, {wh.shape[1]}], "
            f"got {list(biases[0].shape)}."
        )
    first, second = biases[0]
    rest, fields = taken_out(second, layout.gates, kind.second_biases(layout))
    return read([turn(first), turn(rest)], **fields)


def to_keras(cell: Cell, params: Any, *, bias: bool = True) -> list:
    """The weights of the Keras layers that compute what the cell does.

    Args:
        cell: `simple_rnn`, `lstm`, `gru` or `conv_lstm`, a `bidirectional` of two such,
            or a `stack` of either.
        params: the cell's.
        bias: False for layers with ``use_bias=False``; biases must then be zero.

    Returns:
        The NumPy arrays for ``layer.set_weights``; for two layers or more a list of
        such lists. Layers of `gru` have its ``reset_after``. The dtype is the params',
        bfloat16 too: ``set_weights`` casts to the layer's.

    Raises:
        ValueError: for a cell that Keras does not have, with the reason.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.gru(4)
        >>> weights = convert.to_keras(cell, cell.init(jax.random.key(0), 3))
        >>> [w.shape for w in weights]
        [(3, 12), (4, 12), (2, 12)]
    """
    apart = take_apart(cell, params)
    named = ("concat", "sum", "mean", "product")
    check_options("Keras", apart, apart.activations, named)
    check_convolutions("Keras", cell, apart, own=True)

    def write(p):
        if not bias:
            no_bias("Keras", p)
        return [np.array(a, order="C") for a in _write(p)[: 3 if bias else 2]]

    return unnested(apart.params, write, both=lambda ways: ways[0] + ways[1])


def _write(p: Any) -> list:
    kind, layout = layout_for("Keras", p)
    turn = lambda a: reordered(a, kind.gates, layout.gates)
    bias = turn(p.b)
    if layout.second_bias:
        second = put_in(p, kind.gates, kind.second_biases(layout))
        bias = np.stack([bias, turn(second)])
    return [turn(p.wx), turn(p.wh), bias]

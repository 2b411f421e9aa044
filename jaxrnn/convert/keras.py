"""Keras's weight lists: kernel, recurrent kernel, bias; i f c o and z r h.

The GRU's bias has two rows, on x and on h. r scales the recurrent bias of h.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating, pack, reordered
from jaxrnn.convert._foreign import explained, ours
from jaxrnn.convert._kinds import assemble, kind_of
from jaxrnn.convert._walk import (
    check_options,
    nested,
    no_bias,
    put_together,
    take_apart,
    unnested,
)

NAMES = ("kernel", "recurrent_kernel", "bias")
# Keras's order of the gates, by the kind's name in `jaxrnn.convert._kinds.KINDS`.
ORDERS = {"simple_rnn": "h", "gru": "zrn", "lstm": "ifgo"}


def from_keras(
    weights: list,
    *,
    activation: str | Callable = "tanh",
    merge: str | Callable = "concat",
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Keras's SimpleRNN, LSTM or GRU layers.

    Args:
        weights: ``layer.get_weights()``, or a list with those of each layer. Three
            arrays are a layer with biases, and two are one without. Six and four are a
            ``Bidirectional``. An ``RNN`` of several cells has as many arrays: give a
            list with ``cell.get_weights()`` of each cell.
        activation: of SimpleRNN layers. Weights do not show other options: gates must
            be sigmoid and candidates tanh.
        merge: of bidirectional layers, by jaxrnn's name: Keras's ``"sum"`` is
            ``"sum"``, ``"ave"`` is ``"mean"`` and ``"mul"`` is ``"product"``.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        A GRU's ``b`` has for r and z the sum of Keras's two biases, made in float64 and
        rounded once.

    Raises:
        ValueError: for another number of arrays, shapes that do not agree, numbers that
            overflow the dtype, and a GRU with ``reset_after=False``, which no cell here
            computes. A GRU without biases is read as ``reset_after=True``, because
            nothing in its weights tells the two apart.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import convert
        >>> random = np.random.RandomState(0)
        >>> weights = [random.randn(*shape) for shape in ((3, 16), (4, 16), (16,))]
        >>> cell, params = convert.from_keras(weights)
        >>> cell
        lstm(hidden=4)
    """
    read = partial(_layers, dtype=floating(dtype))
    with explained("weights", weights, read):
        layers = read(weights)
    return put_together(layers, activation=activation, merge=merge)


def _layers(weights: Any, dtype: Any) -> list:
    if not isinstance(weights, list | tuple) or not weights or ours(weights):
        raise ValueError(
            "weights: expected layer.get_weights() or a list of them, got "
            f"{type(weights).__name__}."
        )
    several = all(isinstance(entry, list | tuple) for entry in weights)
    entries = [list(entry) for entry in weights] if several else [list(weights)]
    return nested("weights", entries, partial(_read, dtype=dtype), layer=_ways)


def _ways(weights: list) -> tuple | None:
    """The two halves of what a ``Bidirectional`` holds."""
    half = len(weights) // 2
    return (weights[:half], weights[half:]) if len(weights) in (4, 6) else None


def _read(name: str, weights: list, dtype: Any) -> Any:
    if len(weights) not in (2, 3):
        raise ValueError(
            f"{name}: expected 2 or 3 arrays (kernel, recurrent kernel, bias) per layer, "
            f"4 or 6 if it is bidirectional, got {len(weights)}. Of a whole model give "
            "[layer.get_weights() for layer in ...] of its recurrent layers."
        )
    found = [array(f"{name}: {n}", a) for n, a in zip(NAMES, weights, strict=False)]
    wx, wh, *biases = found
    options = dict(dtype=dtype, titles=(*NAMES, "bias[1]"), among=ORDERS)
    read = partial(assemble, name, **options)
    if wh.ndim != 2 or wh.shape[1] != 3 * wh.shape[0]:
        return read(wx, wh, biases)
    if biases and biases[0].ndim == 1:
        raise ValueError(
            f"{name}: this GRU has reset_after=False: it resets the carry before the "
            "recurrent matmul. The GRU here resets after it, and no weights make them "
            "equal."
        )
    swapped = _swap(wh)
    if wx.ndim != 2 or wx.shape[1] != wh.shape[1]:
        return read(wx, swapped)  # which says what is wrong
    if not biases:
        return read(_swap(wx), swapped)
    if biases[0].shape != (2, wh.shape[1]):
        raise ValueError(
            f"{name}: expected the bias of a GRU [2, {wh.shape[1]}], "
            f"got {list(biases[0].shape)}."
        )
    first, second = _swap(biases[0])
    n = 2 * len(wh)
    without_n = np.append(second[:n], np.zeros_like(second[n:]))
    return read(_swap(wx), swapped, [first, without_n], bn=second[n:])


def _swap(a: Any) -> np.ndarray:
    """Keras's z r h to r z n, and back."""
    return reordered(a, "zrn", "rzn")


def to_keras(cell: Cell, params: Any, *, bias: bool = True) -> list:
    """The weights of the Keras layers that compute what the cell does.

    Args:
        cell: `simple_rnn`, `lstm` or `gru`, a `bidirectional` of two such, or a `stack`
            of either.
        params: the cell's.
        bias: False for layers with ``use_bias=False``; biases must then be zero.

    Returns:
        The NumPy arrays for ``layer.set_weights``; for two layers or more a list of
        such lists. GRUs are ``reset_after=True``, Keras's default. The dtype is the
        params', bfloat16 too: ``set_weights`` casts to the layer's.

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

    def write(p):
        if not bias:
            no_bias("Keras", p)
        return [np.array(a, order="C") for a in _write(p)[: 3 if bias else 2]]

    return unnested(apart.params, write, both=lambda ways: ways[0] + ways[1])


def _write(p: Any) -> list:
    kind = kind_of(p)
    if kind.name not in ORDERS:
        raise ValueError(f"cell: Keras has no {kind.name}.")
    turn = lambda a: reordered(a, kind.gates, ORDERS[kind.name])
    if "bn" not in kind.fields:
        return [turn(p.wx), turn(p.wh), turn(p.b)]
    second = pack(np.zeros_like(p.b[: -len(p.bn)]), p.bn)
    return [turn(p.wx), turn(p.wh), turn(np.stack([p.b, second]))]

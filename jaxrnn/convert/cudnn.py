"""The flat weights of cuDNN's LSTM, in the order of `jax.experimental.rnn`.

First come ``W_ih [4H, F], W_hh [4H, H]`` of every layer and direction, forward before
backward. Then come ``b_ih, b_hh [4H]`` of each in the same order. Gates are i f g o.
"""

from functools import partial
from typing import Any

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating
from jaxrnn.convert._assemble import assemble
from jaxrnn.convert._kinds import kind_of, kinds_of
from jaxrnn.convert._packing import reordered
from jaxrnn.convert._walk import check_options, put_together, take_apart


def from_cudnn(
    weights: Any,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    *,
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of a flat weight vector of `jax.experimental.rnn.lstm`.

    Args:
        weights: ``[N]``.
        input_size, hidden_size, num_layers, bidirectional: as that function takes them.
        dtype: of the params; None is the weights' own.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.
        ``b`` is the sum of cuDNN's two biases, made in float64 and rounded once.

    Raises:
        ValueError: for a vector of another length, or numbers that overflow the dtype.

    Example:
        >>> import jax
        >>> from jax.experimental import rnn
        >>> from jaxrnn import convert
        >>> weights = rnn.init_lstm_weight(jax.random.key(0), 3, 4, 1, False)
        >>> cell, params = convert.from_cudnn(weights, 3, 4)
        >>> cell, params.wx.shape
        (lstm(hidden=4), (3, 16))
    """
    for name, size in (
        ("input_size", input_size),
        ("hidden_size", hidden_size),
        ("num_layers", num_layers),
    ):
        if not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{name}: expected a positive integer, got {size!r}.")
    ways = 2 if bidirectional else 1
    ((kind, layout),) = kinds_of("cuDNN")  # jax.experimental.rnn has one
    rows = len(kind.gates) * hidden_size
    inputs = [input_size] + [ways * hidden_size] * (num_layers - 1)
    cells = [(rows, width) for width in inputs for _ in range(ways)]
    shapes = [s for one in cells for s in (one, (rows, hidden_size))]
    shapes += [(rows,)] * (2 * len(cells))
    sizes = [int(np.prod(shape)) for shape in shapes]
    flat = array("weights", weights)
    if flat.shape != (sum(sizes),):
        raise ValueError(
            f"weights: expected [{sum(sizes)}] for an LSTM of these sizes, "
            f"got {list(flat.shape)}."
        )
    cut = np.split(flat, np.cumsum(sizes)[:-1])
    cut = [a.reshape(shape) for a, shape in zip(cut, shapes, strict=True)]
    kernels, biases = cut[: 2 * len(cells)], cut[2 * len(cells) :]
    ordered = lambda a: reordered(a.T, layout.gates, kind.gates)
    kernels, biases = [*map(ordered, kernels)], [*map(ordered, biases)]
    read = partial(assemble, "weights", dtype=floating(dtype), among=[kind])
    made = [
        read(kernels[n], kernels[n + 1], biases[n : n + 2])
        for n in range(0, 2 * len(cells), 2)
    ]
    return put_together([tuple(made[n : n + ways]) for n in range(0, len(made), ways)])


def to_cudnn(cell: Cell, params: Any) -> np.ndarray:
    """The flat weights ``[N]`` with which cuDNN's LSTM computes what the cell does.

    Args:
        cell: `lstm`, a `bidirectional` of two that are concatenated, or a `stack` of
            either, all of one width.
        params: the cell's.

    Returns:
        ``[N]``; the second of cuDNN's two biases is zero. The dtype is the params', but
        float32 for bfloat16 and float16: `jax.experimental.rnn.lstm` computes in
        float32 alone. Cast float64 before you give it to that function.

    Raises:
        ValueError: for any other cell.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.lstm(4)
        >>> convert.to_cudnn(cell, cell.init(jax.random.key(0), 3)).shape
        (144,)
    """
    apart = take_apart(cell, params)
    check_options("cuDNN", apart, (), ("concat",))
    flat = [p for layer in apart.params for p in layer]
    alike = {(type(p), len(p.wh)) for p in flat}
    ((kind, layout),) = kinds_of("cuDNN")
    if (
        len(alike) > 1
        or kind_of(flat[0]) is not kind
        or len({len(layer) for layer in apart.params}) > 1
    ):
        raise ValueError(
            f"cell: jax.experimental.rnn has LSTMs of one width only, got {cell!r}."
        )
    ordered = lambda a: reordered(a, kind.gates, layout.gates)
    kernels = [ordered(w).T.ravel() for p in flat for w in (p.wx, p.wh)]
    biases = [b for p in flat for b in (ordered(p.b), np.zeros_like(p.b))]
    weights = np.concatenate(kernels + biases)
    return weights.astype(np.float32) if weights.itemsize < 4 else weights

"""Flax's trees, Linen's and NNX's: a Dense for each gate, or one for x and one for h.

Linen has one Dense per gate. ``ii if ig io`` read x; ``hi hf hg ho`` read h and have the
LSTM's bias. The GRU's biases are on x, and ``hn`` has one too. NNX's LSTMCell has the same
layout. NNX's other cells pack i f g o and r z n, and its GRUCell has no recurrent bias.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jaxrnn._time import check_flag
from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import floating, names_of
from jaxrnn.convert._flax_cells import read_cell, write_cell
from jaxrnn.convert._foreign import explained
from jaxrnn.convert._kinds import kind_of
from jaxrnn.convert._nesting import nested, unnested
from jaxrnn.convert._walk import check_convolutions, put_together, take_apart


def from_linen(
    params: Any,
    *,
    activation: str | Callable = "tanh",
    merge: str | Callable = "concat",
    residual: bool = False,
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Flax Linen's cells: Simple, LSTM, GRU, MGU, ConvLSTM.

    Args:
        params: the params of a cell, or of an ``RNN`` or ``Bidirectional`` around it,
            or a list with those of each layer. A pair ``(forward, backward)`` is a
            bidirectional layer too.
        activation: of a SimpleCell. Weights do not show other options: gates must be
            sigmoid and candidates tanh.
        merge: of bidirectional layers.
        residual: of SimpleCells, which then add h to their pre-activations: here 1 is
            added to the diagonal of ``wh``.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.

    Raises:
        ValueError: for names that are no such cell's, shapes that do not agree, or
            numbers that overflow the dtype. For variables, a TrainState or a model
            around the cell the error says where its params are.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp
        >>> h, x = jnp.ones((2, 4)), jnp.ones((2, 3))
        >>> from jaxrnn import convert
        >>> variables = nn.GRUCell(4).init(jax.random.key(0), h, x)
        >>> cell, params = convert.from_linen(variables["params"])
        >>> cell
        gru(hidden=4)
    """
    layers = _layers("params", params, floating(dtype), residual)
    return put_together(layers, activation=activation, merge=merge)


def from_nnx(
    state: Any,
    *,
    activation: str | Callable = "tanh",
    merge: str | Callable = "concat",
    residual: bool = False,
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Flax NNX's SimpleCell, GRUCell or either LSTM cell.

    Args:
        state: ``nnx.state(module)`` of a cell, or of an ``RNN`` or ``Bidirectional``
            around it, or a list with those of each layer. A pair
            ``(forward, backward)`` is a bidirectional layer too.
        activation: of a SimpleCell. Weights do not show other options: gates must be
            sigmoid and candidates tanh.
        merge: of bidirectional layers.
        residual: of SimpleCells, which then add h to their pre-activations: here 1 is
            added to the diagonal of ``wh``.
        dtype: of the params; None is the weights' own. ``"float32"`` reads half
            precision without loss.

    Returns:
        ``(cell, params)``: a bare cell for one layer, else a `stack`; params are copies.

    Raises:
        ValueError: for names that are no such cell's, shapes that do not agree, or
            numbers that overflow the dtype. For the state of a model around the cell
            the error says where the cell's is.

    Example:
        >>> from flax import nnx
        >>> from jaxrnn import convert
        >>> module = nnx.RNN(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)))
        >>> cell, params = convert.from_nnx(nnx.state(module))
        >>> cell, params.wx.shape
        (lstm(hidden=4), (3, 16))
    """
    layers = _layers("state", state, floating(dtype), residual)
    return put_together(layers, activation=activation, merge=merge)


def _layers(name: str, trees: Any, dtype: Any, residual: bool) -> list:
    check_flag("residual", residual)
    one = partial(read_cell, dtype=dtype, residual=residual)
    read = lambda tree: nested(name, tree, one, layer=_ways)
    with explained(name, trees, lambda part: isinstance(part, Mapping) and read(part)):
        return read(trees)


def _ways(tree: Any) -> tuple | None:
    """The two halves of a ``Bidirectional``'s tree."""
    if not isinstance(tree, Mapping) or "forward_rnn" not in tree:
        return None
    both = names_of("params", tree, ("forward_rnn", "backward_rnn"), ("rngs",))
    return both["forward_rnn"], both["backward_rnn"]


def to_linen(cell: Cell, params: Any, *, residual: bool = False) -> Any:
    """The params of the Flax Linen cells that compute what the cell does.

    Args:
        cell: `simple_rnn`, `lstm`, `gru`, `mgu`, `ugrnn` (Flax's
            ``MGUCell(reset_gate=False)``) or `conv_lstm`, a `bidirectional` of two such,
            or a `stack` of either.
        params: the cell's.
        residual: for SimpleCells that have this option: see `from_linen`.

    Returns:
        The cell's params, so that ``{"params": {"cell": ...}}`` are an ``RNN``'s
        variables; for a bidirectional layer those of a ``Bidirectional`` of two
        ``RNN``; for two layers or more a list. NumPy arrays of the params' dtype,
        bfloat16 too, whatever the module's ``param_dtype``.

    Raises:
        ValueError: for a cell that Flax does not have, with the reason.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.lstm(4)
        >>> tree = convert.to_linen(cell, cell.init(jax.random.key(0), 3))
        >>> tree["if"]["kernel"].shape, tree["hf"]["bias"].tolist()
        ((3, 4), [1.0, 1.0, 1.0, 1.0])
    """
    check_flag("residual", residual)
    write = partial(write_cell, "Linen", residual=residual)
    apart = take_apart(cell, params)
    check_convolutions("Linen", cell, apart, own=False)
    return unnested(apart.params, write, both=_both)


def to_nnx(
    cell: Cell, params: Any, *, optimized: bool = False, residual: bool = False
) -> Any:
    """The state of the Flax NNX cells that compute what the cell does.

    Args:
        cell: `simple_rnn`, `lstm` or `gru`, a `bidirectional` of two such, or a `stack`
            of either.
        params: the cell's.
        optimized: whether LSTMs are ``OptimizedLSTMCell``, not ``LSTMCell``.
        residual: for SimpleCells that have this option: see `from_nnx`.

    Returns:
        A tree for ``nnx.update(cell, ...)``, and ``{"cell": ...}`` for an ``RNN``; for
        a bidirectional layer that of a ``Bidirectional`` of two ``RNN``; for two layers
        or more a list. NumPy arrays of the params' dtype, bfloat16 too, whatever the
        module's ``param_dtype``.

    Raises:
        ValueError: for a cell that NNX does not have, with the reason: its GRUCell has
            no recurrent bias, so ``bn`` must be zero.

    Example:
        >>> import jax, jaxrnn
        >>> from flax import nnx
        >>> from jaxrnn import convert
        >>> cell, module = jaxrnn.lstm(4), nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0))
        >>> nnx.update(module, convert.to_nnx(cell, cell.init(jax.random.key(0), 3)))
        >>> module.hf.bias[...].tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    check_flag("residual", residual)

    def write(p):
        kind = kind_of(p)
        has = optimized and kind is not None and "NNX optimized" in kind.layouts
        tree = write_cell("NNX optimized" if has else "NNX", p, residual)
        names = {"if": "if_", "i": "dense_i", "h": "dense_h"}  # NNX's, of Linen's
        return {names.get(name, name): dense for name, dense in tree.items()}

    return unnested(take_apart(cell, params).params, write, both=_both)


def _both(ways: list) -> dict:
    return dict(forward_rnn={"cell": ways[0]}, backward_rnn={"cell": ways[1]})

"""Flax's trees, Linen's and NNX's: a Dense for each gate, or one for x and one for h.

Linen has one Dense per gate. ``ii if ig io`` read x; ``hi hf hg ho`` read h and have the
LSTM's bias. The GRU's biases are on x, and ``hn`` has one too. NNX's LSTMCell has the same
layout. NNX's other cells pack i f g o and r z n, and its GRUCell has no recurrent bias.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from jaxrnn.cell import Cell
from jaxrnn.convert._arrays import array, floating, names_of, pack, split
from jaxrnn.convert._foreign import explained
from jaxrnn.convert._kinds import assemble, kind_of
from jaxrnn.convert._walk import nested, put_together, take_apart, unnested

# Kinds with a Dense for each gate: Flax's letters of the gates, by the kind's name in
# `jaxrnn.convert._kinds.KINDS`. The others have one Dense for x and one for h.
GATES = {"lstm": "ifgo", "gru": "rzn"}


def from_linen(
    params: Any,
    *,
    activation: str | Callable = "tanh",
    merge: str | Callable = "concat",
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Flax Linen's SimpleCell, LSTMCell or GRUCell.

    Args:
        params: the params of a cell, or of an ``RNN`` or ``Bidirectional`` around it,
            or a list with those of each layer. A pair ``(forward, backward)`` is a
            bidirectional layer too.
        activation: of a SimpleCell. Weights do not show other options: gates must be
            sigmoid, candidates tanh, and no cell ``residual``.
        merge: of bidirectional layers.
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
    layers = _layers("params", params, floating(dtype))
    return put_together(layers, activation=activation, merge=merge)


def from_nnx(
    state: Any,
    *,
    activation: str | Callable = "tanh",
    merge: str | Callable = "concat",
    dtype: Any = None,
) -> tuple[Cell, Any]:
    """The cell and the params of Flax NNX's SimpleCell, GRUCell or either LSTM cell.

    Args:
        state: ``nnx.state(module)`` of a cell, or of an ``RNN`` or ``Bidirectional``
            around it, or a list with those of each layer. A pair
            ``(forward, backward)`` is a bidirectional layer too.
        activation: of a SimpleCell. Weights do not show other options: gates must be
            sigmoid, candidates tanh, and no cell ``residual``.
        merge: of bidirectional layers.
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
    layers = _layers("state", state, floating(dtype))
    return put_together(layers, activation=activation, merge=merge)


def _layers(name: str, given: Any, dtype: Any) -> list:
    read = lambda tree: nested(name, tree, partial(_read, dtype=dtype), layer=_ways)
    with explained(name, given, lambda part: isinstance(part, Mapping) and read(part)):
        return read(given)


def _ways(tree: Any) -> tuple | None:
    """The two halves of a ``Bidirectional``'s tree."""
    if not isinstance(tree, Mapping) or "forward_rnn" not in tree:
        return None
    both = names_of("params", tree, ("forward_rnn", "backward_rnn"), ("rngs",))
    return both["forward_rnn"], both["backward_rnn"]


def _read(name: str, tree: Any, dtype: Any) -> Any:
    while isinstance(tree, Mapping) and "cell" in tree:  # of an RNN
        tree = tree["cell"]
    if not isinstance(tree, Mapping):
        raise ValueError(
            f"{name}: expected a cell's mapping of names, got {type(tree).__name__}. "
            "Of an NNX module give nnx.state(module), of several layers a list."
        )
    ours = lambda name: "if" if name == "if_" else name
    parts = {ours(name): part for name, part in tree.items() if name != "rngs"}
    if set(parts) == {"i", "h"}:
        return _dense(name, parts["i"], parts["h"], dtype)
    if set(parts) == {"dense_i", "dense_h"}:
        return _dense(name, parts["dense_i"], parts["dense_h"], dtype)
    for gates in GATES.values():
        if set(parts) == {side + gate for side in "ih" for gate in gates}:
            return _by_gate(name, parts, gates, dtype)
    raise ValueError(
        f"{name}: expected the names of a SimpleCell, LSTMCell or GRUCell, got "
        f"{sorted(parts)}. Give that part of the tree alone, a list for several layers "
        "and a pair (forward, backward) for two directions."
    )


def _dense(name: str, from_x: Any, from_h: Any, dtype: Any) -> Any:
    """One Dense each; one of the two has the bias."""
    from_x = names_of(f"{name} of x", from_x, ("kernel",), ("bias",))
    from_h = names_of(f"{name} of h", from_h, ("kernel",), ("bias",))
    biases = [part["bias"] for part in (from_x, from_h) if "bias" in part]
    if len(biases) > 1:
        raise ValueError(f"{name}: expected a bias on x or on h, got two.")
    kernels = from_x["kernel"], from_h["kernel"]
    return assemble(name, *kernels, biases, dtype=dtype, among=("simple_rnn", *GATES))


def _by_gate(name: str, parts: dict, gates: str, dtype: Any) -> Any:
    biased = [side + gate for gate in gates for side in _biased(gates, gate)]
    arrays: dict[tuple, np.ndarray] = {}
    for gate, part in parts.items():
        needed = ("kernel", "bias") if gate in biased else ("kernel",)
        for what, value in names_of(f"{name}[{gate!r}]", part, needed).items():
            arrays[gate, what] = array(f"{name}[{gate!r}].{what}", value)

    def packed(side, what):
        found = [arrays[side + gate, what] for gate in gates]
        if len({a.shape for a in found}) != 1:
            shapes = [list(a.shape) for a in found]
            raise ValueError(
                f"{name}: expected {what}s of one shape on {side}, got {shapes}."
            )
        return pack(*found)

    wx, wh = packed("i", "kernel"), packed("h", "kernel")
    if gates == "ifgo":
        biases = [packed("h", "bias")]
        return assemble(name, wx, wh, biases, dtype=dtype, among=("lstm",))
    options = dict(dtype=dtype, among=("gru",), bn=arrays["hn", "bias"])
    return assemble(name, wx, wh, [packed("i", "bias")], **options)


def _biased(gates: str, gate: str) -> str:
    """Whether a gate of Linen has its bias on x ("i"), on h ("h") or on both."""
    return "h" if gates == "ifgo" else "ih" if gate == "n" else "i"


def to_linen(cell: Cell, params: Any) -> Any:
    """The params of the Flax Linen cells that compute what the cell does.

    Args:
        cell: `simple_rnn`, `lstm` or `gru`, a `bidirectional` of two such, or a `stack`
            of either.
        params: the cell's.

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
    return unnested(take_apart(cell, params).params, _write, both=_both)


def to_nnx(cell: Cell, params: Any, *, optimized: bool = False) -> Any:
    """The state of the Flax NNX cells that compute what the cell does.

    Args:
        cell: `simple_rnn`, `lstm` or `gru`, a `bidirectional` of two such, or a `stack`
            of either.
        params: the cell's.
        optimized: whether LSTMs are ``OptimizedLSTMCell``, not ``LSTMCell``.

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

    def write(p):
        kind = kind_of(p).name
        if kind == "gru":
            if np.any(p.bn):
                raise ValueError(
                    "params.bn: expected zeros, because nnx.GRUCell has no recurrent "
                    "bias of n."
                )
            return _packed(p.wx, p.wh, bias_on="i", b=p.b)
        if kind == "lstm":
            if optimized:
                return _packed(p.wx, p.wh, bias_on="h", b=p.b)
            tree = _write(p)
            tree["if_"] = tree.pop("if")
            return tree
        return _packed(p.wx, p.wh, bias_on="i", b=p.b)

    return unnested(take_apart(cell, params).params, write, both=_both)


def _packed(wx, wh, *, bias_on: str, b) -> dict:
    tree = {"dense_i": {"kernel": wx}, "dense_h": {"kernel": wh}}
    tree[f"dense_{bias_on}"]["bias"] = b
    return tree


def _both(ways: list) -> dict:
    return dict(forward_rnn={"cell": ways[0]}, backward_rnn={"cell": ways[1]})


def _write(p: Any) -> dict:
    gates = GATES.get(kind_of(p).name)
    if gates is None:
        return {"i": {"kernel": p.wx, "bias": p.b}, "h": {"kernel": p.wh}}
    tree: dict = {}
    for side, kernel in (("i", p.wx), ("h", p.wh)):
        for gate, k in zip(gates, split(kernel, len(gates)), strict=True):
            tree[side + gate] = {"kernel": np.array(k, order="C")}
    for gate, b in zip(gates, split(p.b, len(gates)), strict=True):
        tree[_biased(gates, gate)[0] + gate]["bias"] = np.array(b)
    if gates == "rzn":
        tree["hn"]["bias"] = p.bn
    return tree

"""ONNX's RNN, GRU and LSTM nodes: weights ``[directions, G H, F]``, i o f c and z r h.

The bias has two halves, which are added; where a GRU resets after the matmul, r scales the
second half's h. Peepholes are i o f. An LSTM whose input and forget gates are coupled has
weights for f all the same, which nothing reads.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._extra import need
from jaxrnn.cell import Cell
from jaxrnn.cells import LSTMCarry
from jaxrnn.compose import BidirectionalCarry, BidirectionalParams, bidirectional
from jaxrnn.convert import _kinds
from jaxrnn.convert._arrays import array, copied, floating
from jaxrnn.convert._assemble import assemble
from jaxrnn.convert._kind import Kind
from jaxrnn.convert._packing import reordered, taken_out
from jaxrnn.sigmoid import sigmoid


class OnnxRNN(NamedTuple):
    """What an ONNX node computes: ``unroll(cell, params, carry, xs, ...)``.

    Fields:
        cell, params: one cell, or a `bidirectional` one.
        carry: the initial states that the model holds; None is zeros, or what the
            model takes as an input: `LSTMCarry` of h and c or h itself ``[B, H]``, in a
            `BidirectionalCarry` for two directions.
        lengths: int [B], the sequence lengths that the model holds, or None.
        reverse: whether it is to be unrolled in reverse.
        batch_first: whether the node's X and Y have the batch before time.
    """

    cell: Cell
    params: Any
    carry: Any
    lengths: Any
    reverse: bool
    batch_first: bool


# The inputs of a node, in order.
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}
ACTIVATIONS: dict[str, Any] = {
    "Tanh": "tanh",
    "Relu": "relu",
    "Sigmoid": sigmoid,
    "Softplus": jax.nn.softplus,
    "Softsign": jax.nn.soft_sign,
}


def from_onnx(
    model: Any,
    *,
    node: str | None = None,
    weights: Mapping[str, Any] | None = None,
    dtype: Any = None,
) -> OnnxRNN:
    """The cell, the params and the rest of an ONNX RNN, GRU or LSTM node.

    Args:
        model: an ``onnx.ModelProto``, such as ``onnx.load(path)``, or the
            ``onnx.NodeProto`` alone.
        node: the node's name, or that of one of its outputs; None is the only one of its
            kind in the model.
        weights: arrays that the model does not hold, by their names in it.
        dtype: of the params and the carry; None is the weights' own. ``"float32"`` reads
            half precision without loss.

    Returns:
        An `OnnxRNN`; params are copies. Sums of two biases are made in float64 and
        rounded once. With ``xs [T, B, F]`` the node's ``Y`` is
        ``hs.reshape(T, B, directions, H).swapaxes(1, 2)``.

    Raises:
        ImportError: without the extra ``onnx``.
        ValueError: for a model without such a node or with several, weights that are
            missing or of other shapes, states and lengths that another node computes,
            ``clip``, and activations that no cell here has.

    Example:
        >>> import numpy as np, jaxrnn
        >>> from jaxrnn import convert
        >>> from onnx import helper  # doctest: +SKIP
        >>> node = helper.make_node(
        ...     "GRU", ["X", "W", "R"], ["Y"], hidden_size=4
        ... )  # doctest: +SKIP
        >>> weights = {"W": np.ones((1, 12, 3)), "R": np.ones((1, 12, 4))}
        >>> rnn = convert.from_onnx(node, weights=weights)  # doctest: +SKIP
        >>> rnn.cell, rnn.params.wx.shape  # doctest: +SKIP
        (gru(hidden=4, reset_after=False), (3, 12))
    """
    graph = getattr(model, "graph", None)
    one = _node(model, node) if graph is not None else _alone(model, node)
    if not isinstance(weights, Mapping | None):
        raise ValueError(
            f"weights: expected a dict of arrays by name, got {weights!r}."
        )
    found = _inputs(one, graph, _held(graph) | dict(weights or {}))
    options = {a.name: _value(a) for a in one.attribute}
    directions = options.get("direction", "forward")
    if directions not in DIRECTIONS:
        raise ValueError(f"direction: expected {[*DIRECTIONS]}, got {directions!r}.")
    count, batch_first = DIRECTIONS[directions], bool(options.get("layout", 0))
    name = f"{one.op_type} {one.name}".strip()
    activations = _activations(name, one.op_type, options, count)
    kind = _kind(name, one.op_type, options, found.get("P"))
    lengths = found.pop("sequence_lens", None)
    lengths = None if lengths is None else np.asarray(lengths)
    found = {what: array(f"{name}: {what}", a) for what, a in found.items()}
    arrays = {what: a for what, a in found.items() if what in ("W", "R", "B", "P")}
    states = {what: a for what, a in found.items() if what.startswith("initial")}
    hidden = _check_shapes(name, one.op_type, arrays, count, options)
    _check_states(name, states, lengths, count, hidden, batch_first)
    dtype = floating(dtype)
    read = lambda d: _read(
        name, kind, {what: a[d] for what, a in arrays.items()}, dtype
    )
    params = [jax.tree.map(copied, read(d)) for d in range(count)]
    cells = [
        kind.make(p._asdict(), {"activation": f})
        for p, f in zip(params, activations, strict=True)
    ]
    dtype = jax.tree.leaves(params)[0].dtype
    states = {what: np.asarray(a, dtype) for what, a in states.items()}
    return OnnxRNN(
        cell=bidirectional(*cells) if count == 2 else cells[0],
        params=BidirectionalParams(*params) if count == 2 else params[0],
        carry=_carry(one.op_type, states, count, batch_first),
        lengths=lengths,
        reverse=directions == "reverse",
        batch_first=batch_first,
    )


def _node(model: Any, name: str | None) -> Any:
    nodes = [node for node in model.graph.node if node.op_type in GATES]
    names = lambda node: [known for known in (node.name, *node.output) if known]
    named = [node for node in nodes if name is None or name in names(node)]
    if len(named) == 1:
        return named[0]
    known = [f"{node.op_type} {' or '.join(names(node))}" for node in nodes]
    remedy = " Name one, or an output of it: node=..." if len(nodes) > 1 else ""
    raise ValueError(
        f"node: expected one RNN, GRU or LSTM{'' if name is None else f' {name!r}'}, got "
        f"{known} in the model.{remedy}"
    )


def _alone(node: Any, name: str | None) -> Any:
    if getattr(node, "op_type", None) not in GATES:
        raise ValueError(
            "model: expected an onnx.ModelProto or the NodeProto of an RNN, GRU or LSTM, "
            f"got {getattr(node, 'op_type', type(node).__name__)}."
        )
    return node


def _inputs(node: Any, graph: Any, held: dict) -> dict[str, Any]:
    """What is known of a node's inputs, but X.

    States and lengths may be inputs of the model, or of what a node alone was taken from.
    """
    names = dict(zip(INPUTS, [*node.input, *[""] * 8], strict=False))
    outside = None if graph is None else {value.name for value in graph.input}
    states = {name for what, name in names.items() if what.startswith("initial")}
    states -= {""}
    given = any(name in held for name in states)
    found = {}
    for what, name in names.items():
        if what == "X" or (not name and what not in ("W", "R")):
            continue
        free = what in ("sequence_lens", "initial_h", "initial_c")
        free = free and (outside is None or name in outside)
        if name in held:
            found[what] = held[name]
        elif not name:
            raise ValueError(f"{node.op_type}: expected an input {what}, got none.")
        elif not free or (given and name in states):
            raise ValueError(
                f"weights: expected {name!r}, the input {what} of the {node.op_type}, "
                f"which the model does not hold. Give weights={{{name!r}: ...}}."
            )
    return found


def _held(graph: Any) -> dict[str, np.ndarray]:
    """The arrays that a model holds: its initializers and constants."""
    if graph is None:
        return {}
    to_array = need("onnx.numpy_helper").to_array
    held = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    held[node.output[0]] = to_array(attribute.t)
    return held


def _value(attribute: Any) -> Any:
    """Of an ``onnx.AttributeProto``: a number, a string, or a list of either."""
    text = lambda raw: raw.decode() if isinstance(raw, bytes) else raw
    fields = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}
    value = getattr(attribute, fields.get(attribute.type, "t"))
    return list(map(text, value)) if attribute.type in (6, 7, 8) else text(value)


def _activations(name: str, op: str, options: dict, count: int) -> list:
    """The activation of an RNN in each direction; other nodes have their own alone."""
    given = list(options.get("activations", DEFAULTS[op] * count))
    if "clip" in options:
        raise ValueError(f"{name}: expected no clip, got {options['clip']}.")
    if op == "RNN" and len(given) == count and set(given) <= set(ACTIVATIONS):
        return [ACTIVATIONS[a] for a in given]
    if op == "RNN" or given != [*DEFAULTS[op]] * count:
        known = sorted(ACTIVATIONS) if op == "RNN" else [*DEFAULTS[op]] * count
        raise ValueError(
            f"{name}: expected activations {'among ' * (op == 'RNN')}{known}, got {given}."
        )
    return [None] * count


def _kind(name: str, op: str, options: dict, peepholes: Any) -> Kind:
    kinds = {kind.name: kind for kind in _kinds.KINDS if "ONNX" in kind.layouts}
    if op == "RNN":
        return kinds["simple_rnn"]
    if op == "GRU":
        after = options.get("linear_before_reset", 0)
        return kinds["gru" if after else "gru, reset before"]
    coupled = options.get("input_forget", 0)
    if coupled and peepholes is not None and np.any(peepholes):
        raise ValueError(
            f"{name}: expected no peepholes where input and forget gates are coupled."
        )
    if coupled:
        return kinds["coupled_lstm"]
    return kinds["lstm" if peepholes is None else "peephole_lstm"]


def _check_shapes(name: str, op: str, arrays: dict, count: int, options: dict) -> int:
    """H. Raises ValueError unless there is each array for each direction."""
    hidden = options.get("hidden_size", (arrays["R"].shape or (0,))[-1])
    width = GATES[op] * hidden
    wanted = {"W": (width, "F"), "R": (width, hidden), "B": (2 * width,)}
    wanted |= {"P": (3 * hidden,)}
    for what, a in arrays.items():
        shape = (count, *wanted[what])
        fits = len(a.shape) == len(shape) and all(
            n == m or m == "F" for n, m in zip(a.shape, shape, strict=True)
        )
        if not fits:
            text = ", ".join(map(str, shape))
            raise ValueError(f"{name}: expected {what} [{text}], got {list(a.shape)}.")
    return hidden


def _check_states(
    name: str, states: dict, lengths: Any, count: int, hidden: int, batch_first: bool
) -> None:
    """Raises ValueError unless states and lengths fit each other."""
    batch: Any = "B"
    if lengths is not None:
        if lengths.ndim != 1 or not np.issubdtype(lengths.dtype, np.integer):
            raise ValueError(
                f"{name}: expected sequence_lens int [B], got {lengths.dtype} "
                f"{list(lengths.shape)}."
            )
        batch = len(lengths)
    for what, a in states.items():
        axis = 0 if batch_first else 1
        batch = a.shape[axis] if batch == "B" and a.ndim == 3 else batch
        shape = (batch, count, hidden) if batch_first else (count, batch, hidden)
        if a.shape != shape:
            text = ", ".join(map(str, shape))
            raise ValueError(f"{name}: expected {what} [{text}], got {list(a.shape)}.")


def _read(name: str, kind: Kind, arrays: dict, dtype: Any) -> Any:
    """One direction's params."""
    layout = kind.layouts["ONNX"]
    turn = lambda a: reordered(a, layout.gates, kind.gates)
    biases, fields = [], {}
    if "B" in arrays:
        first, second = np.split(arrays["B"], 2)
        seconds = kind.second_biases(layout)
        if seconds:
            second, fields = taken_out(second, layout.gates, seconds)
        biases = [turn(first), turn(second)]
    if "P" in arrays and kind.fields:
        fields |= dict(zip(layout.tensors, np.split(arrays["P"], 3), strict=True))
    wx, wh = turn(arrays["W"].T), turn(arrays["R"].T)
    return assemble(name, wx, wh, biases, dtype=dtype, among=[kind], **fields)


def _carry(op: str, states: dict, count: int, batch_first: bool) -> Any:
    """The initial states that a model holds, as the cell's carry."""
    if not states:
        return None
    turn = lambda s: s.swapaxes(0, 1) if batch_first else s
    zeros = np.zeros_like(
        next(iter(states.values()))
    )  # ONNX's for one that is left out
    h, c = (turn(states.get(what, zeros)) for what in ("initial_h", "initial_c"))
    ways = [*map(LSTMCarry, h, c)] if op == "LSTM" else [*h]
    return BidirectionalCarry(*ways) if count == 2 else ways[0]

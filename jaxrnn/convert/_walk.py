"""What the conversions share: layers, each with one or two directions.

A library's layout is first read into a list with one tuple per layer. The tuple holds one
`SimpleRNNParams`, `LSTMParams` or `GRUParams`, or two of them, forward and backward.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._spec import show
from jaxrnn.cell import Cell
from jaxrnn.cells.gru import gru
from jaxrnn.cells.lstm import lstm
from jaxrnn.cells.simple import simple_rnn
from jaxrnn.compose import BidirectionalParams, bidirectional, stack
from jaxrnn.convert._arrays import array, copied
from jaxrnn.convert._foreign import inside
from jaxrnn.convert._kinds import Kind, checked, kind_of, named

# Why no library has a counterpart of a composition, and what to do.
REASONS = {
    "residual": "no peer adds inputs to outputs; convert the cell inside, "
    "cell.parts[0], with the same params",
    "with_carries": "its outputs hold the carry too; convert the cell inside, "
    "cell.parts[0], with the same params",
    "precision": "no file says what a peer computes in; convert the cell inside, with "
    "the same params",
    "learned_carry": "peers take the initial carry as an input; convert the cell "
    "inside, cell.parts[0], with params.cell",
}


# How params of jaxrnn.linen, which are dicts, become the cell's.
FROM_TREE = (
    " Of a jaxrnn.linen module give "
    "jaxrnn.linen.from_tree(cell, variables['params']['cell'], features)."
)


class Layers(NamedTuple):
    """A cell taken apart.

    Fields:
        params: one tuple per layer, with one or two cells' params in NumPy.
        activations: the names of the simple RNNs' activations, in order.
        merges: how the bidirectional layers' outputs are merged, in order.
    """

    params: list
    activations: list
    merges: list


def take_apart(cell: Cell, params: Any) -> Layers:
    """The layers of a cell, or a ValueError that says why no library has such a cell."""
    if not isinstance(cell, Cell):
        raise ValueError(f"cell: expected a jaxrnn.Cell, got {_shown(cell, params)}")
    activations, merges = [], []

    def leaf(spec, params):
        kind, options = _kind(spec), dict(o for o in spec[1:] if len(o) == 2)
        if not isinstance(params, kind.params):
            raise ValueError(
                f"params: expected {kind.params.__name__} for {show(spec)}, "
                f"got {type(params).__name__}."
            )
        name = f"params of {show(spec)}"
        weights = {
            field: np.array(array(f"{name}: {field}", a), order="C")
            for field, a in zip(params._fields, params, strict=True)
        }
        made = checked(name, among=(kind.name,), **weights)
        if kind.hidden(made.wh, weights) != options["hidden"]:
            raise ValueError(
                f"params: expected those of {show(spec)}, got wh {list(made.wh.shape)}."
            )
        if "activation" in options:
            activations.append(options["activation"])
        return made

    def layers(spec, params):
        if spec[:1] == ("stack",):
            inner = dict(spec[1:])["cells"]
            if not isinstance(params, tuple) or len(params) != len(inner):
                size = f" of {len(params)}" if type(params) in (tuple, list) else ""
                raise ValueError(
                    f"params: expected a tuple of {len(inner)} layers for "
                    f"{show(spec)}, got {type(params).__name__}{size}."
                )
            return [
                layer
                for s, p in zip(inner, params, strict=True)
                for layer in layers(s, p)
            ]
        if spec[:1] == ("bidirectional",):
            options = dict(spec[1:])
            if not isinstance(params, BidirectionalParams):
                raise ValueError(
                    f"params: expected BidirectionalParams for {show(spec)}, "
                    f"got {type(params).__name__}."
                )
            merges.append(options["merge"])
            ways = zip(options["cells"], params, strict=True)
            return [tuple(leaf(s, p) for s, p in ways)]
        return [(leaf(spec, params),)]

    try:
        found = layers(cell.spec, params)
    except ValueError as error:
        more = inside("params", params, lambda part: layers(cell.spec, part))
        if not more and isinstance(params, dict):
            more = FROM_TREE
        if not more and not isinstance(params, tuple):
            more = " The params are what cell.init(key, features) returns."
        raise ValueError(f"{error}{more}") from error.__cause__
    merged = iter(merges)
    _check_widths(found, [next(merged) if len(one) == 2 else None for one in found])
    return Layers(found, activations, merges)


def _shown(cell: Any, params: Any) -> str:
    """What was given for a cell, and what to give."""
    if isinstance(params, Cell):
        return f"{type(cell).__name__}. Give the cell first: (cell, params)."
    if isinstance(cell, tuple | Mapping):
        return f"{type(cell).__name__}, which are params. Give (cell, params)."
    if isinstance(getattr(cell, "cell", None), Cell):
        return f"{type(cell).__name__}. Give its .cell."
    if any(cell is make for make in (lstm, gru, simple_rnn, stack, bidirectional)):
        return f"the function {cell.__name__}. Call it: {cell.__name__}(...)."
    return f"{cell!r}."


def _kind(spec: tuple) -> Kind:
    name = spec[0] if spec else "a cell without a spec"
    if (kind := named(name)) is not None:
        return kind
    if name in ("stack", "bidirectional"):
        reason = (
            "peers read every layer both ways, not a whole stack; make it "
            "stack(bidirectional(...), bidirectional(...))"
        )
    else:
        reason = REASONS.get(name, "its equations are not known here")
    raise ValueError(
        f"cell: {show(spec) if spec else name} has no counterpart: {reason}."
    )


def put_together(
    layers: Sequence[tuple],
    *,
    activation: str | Callable = "tanh",
    merge: str | Callable = "concat",
) -> tuple[Cell, Any]:
    """``(cell, params)`` of layers in NumPy: a bare cell for one, else a `stack`.

    Args:
        layers: one tuple per layer, as in `Layers.params`.
        activation: of simple RNNs.
        merge: of bidirectional layers.

    Raises:
        ValueError: for layers whose input width is not the output width of the one
            before, unless `merge` is a function.
    """
    _check_widths(layers, [merge] * len(layers))
    cells, params = [], []
    for layer in layers:
        made = [_make(p, activation) for p in layer]
        copies = [jax.tree.map(copied, p) for p in layer]
        if len(layer) == 2:
            cells.append(bidirectional(*made, merge=merge))
            params.append(BidirectionalParams(*copies))
        else:
            cells.append(made[0])
            params.append(copies[0])
    if not cells:
        raise ValueError("weights: expected at least one layer, got none.")
    if len(cells) == 1:
        return cells[0], params[0]
    return stack(*cells), tuple(params)


def _check_widths(layers: Sequence[tuple], merges: Sequence) -> None:
    """Raises ValueError unless each layer reads the outputs of the one before."""
    width = None
    for number, (layer, merge) in enumerate(zip(layers, merges, strict=True)):
        reads = {len(p.wx) for p in layer}
        if len(reads) > 1:
            raise ValueError(
                f"layer {number}: expected both directions to read the same input, "
                f"got {sorted(reads)} features. Two layers are a list of two."
            )
        if width is not None and reads != {width}:
            raise ValueError(
                f"layer {number}: expected an input kernel for the {width} outputs "
                f"of the layer before, got one for {len(layer[0].wx)}."
            )
        widths = [len(p.wh) for p in layer]
        if len(layer) == 1 or merge in ("sum", "mean", "product"):
            width = widths[0]
        else:  # of a function nothing is known
            width = sum(widths) if merge == "concat" else None


def _make(params: Any, activation: str | Callable) -> Cell:
    kind = kind_of(params)
    return kind.make(kind.hidden(params.wh, params._asdict()), activation)


def no_bias(library: str, params: Any) -> None:
    """Raises ValueError unless all biases are zero, for a layer there without any."""
    fields = kind_of(params).fields
    biases = [f for f in fields if fields[f].title.startswith("bias")]
    if any(np.any(getattr(params, field)) for field in ("b", *biases)):
        raise ValueError(
            f"bias: {library} would drop biases that are not zero. Give bias=True."
        )


def check_options(
    library: str, apart: Layers, activations: Sequence, merges: Sequence
) -> None:
    """Raises ValueError for activations or merges that `library` does not have."""
    for name, have, allowed in (
        ("activation", apart.activations, activations),
        ("merge", apart.merges, merges),
    ):
        for value in have:
            if value not in allowed:
                raise ValueError(
                    f"cell: {library} has no {name} {value!r}, only {list(allowed)}."
                )


def nested(
    name: str, weights: Any, read: Callable, *, layer: Callable | None = None
) -> list:
    """Layers from a list with one entry per layer, or from one layer.

    Args:
        name: what errors call `weights`.
        weights: one layer or a list of them; a layer is one cell's weights or a tuple
            of two, forward and backward.
        read: ``(name, weights) -> params`` of one cell.
        layer: ``weights -> tuple or None``: other forms of a bidirectional layer.
    """

    def one(name, entry):
        both = layer(entry) if layer else None
        if both is None and isinstance(entry, tuple):
            both = entry
        if both is None:
            return (read(name, entry),)
        if len(both) != 2:
            raise ValueError(
                f"{name}: expected (forward, backward) for a bidirectional layer, "
                f"got {len(both)} entries."
            )
        ways = zip((f"{name} forward", f"{name} backward"), both, strict=True)
        return tuple(read(*way) for way in ways)

    if not isinstance(weights, list) or len(weights) == 1:
        return [one(name, weights[0] if isinstance(weights, list) else weights)]
    return [one(f"{name}[{n}]", entry) for n, entry in enumerate(weights)]


def unnested(layers: list, write: Callable, *, both: Callable = tuple) -> Any:
    """The inverse of `nested`: a list for two layers or more, else the one.

    Args:
        layers: as in `Layers.params`.
        write: one cell's params -> its weights.
        both: two directions' weights -> a layer's.
    """
    made = [
        write(layer[0]) if len(layer) == 1 else both([write(p) for p in layer])
        for layer in layers
    ]
    return made[0] if len(made) == 1 else made

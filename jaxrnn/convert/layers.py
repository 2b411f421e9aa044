"""What the conversions share: layers, each with one or two directions.

A library's layout is first read into a list with one tuple per layer. The tuple holds one
`SimpleRNNParams`, `LSTMParams` or `GRUParams`, or two of them, forward and backward.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._spec import show
from jaxrnn.cell import Cell
from jaxrnn.cells.gru import GRUParams, gru
from jaxrnn.cells.lstm import LSTMParams, lstm
from jaxrnn.cells.simple import SimpleRNNParams, simple_rnn
from jaxrnn.compose import BidirectionalParams, bidirectional, stack
from jaxrnn.convert.foreign import inside

GATES = {SimpleRNNParams: 1, GRUParams: 3, LSTMParams: 4}
KINDS = {"simple_rnn": SimpleRNNParams, "gru": GRUParams, "lstm": LSTMParams}

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
        if not isinstance(params, kind):
            raise ValueError(
                f"params: expected {kind.__name__} for {show(spec)}, "
                f"got {type(params).__name__}."
            )
        name = f"params of {show(spec)}"
        arrays = [
            np.array(array(f"{name}: {field}", a), order="C")
            for field, a in zip(params._fields, params, strict=True)
        ]
        made = checked(name, *arrays)
        if len(made.wh) != options["hidden"]:
            raise ValueError(
                f"params: expected those of {show(spec)}, got wh {list(made.wh.shape)}."
            )
        if kind is SimpleRNNParams:
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
    named = iter(merges)
    _check_widths(found, [next(named) if len(one) == 2 else None for one in found])
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


def _kind(spec: tuple) -> type:
    name = spec[0] if spec else "a cell without a spec"
    if name in KINDS:
        return KINDS[name]
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
        arrays = [jax.tree.map(copied, p) for p in layer]
        if len(layer) == 2:
            cells.append(bidirectional(*made, merge=merge))
            params.append(BidirectionalParams(*arrays))
        else:
            cells.append(made[0])
            params.append(arrays[0])
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
    hidden = len(params.wh)
    if isinstance(params, SimpleRNNParams):
        return simple_rnn(hidden, activation=activation)
    return gru(hidden) if isinstance(params, GRUParams) else lstm(hidden)


def floating(dtype: Any) -> np.dtype | None:
    """`held` of a floating dtype; None, the weights' own, stays None."""
    return None if dtype is None else held(dtype)


def held(dtype: Any) -> np.dtype:
    """`dtype` as JAX holds it: float64 becomes float32, with a warning, without x64.

    Raises:
        ValueError: for what is no floating dtype.
    """
    try:
        wanted = np.dtype(dtype).newbyteorder("=")
        found = jax.dtypes.canonicalize_dtype(wanted)
    except TypeError:
        wanted = found = None
    if found is None or not jnp.issubdtype(found, jnp.floating):
        raise ValueError(
            "dtype: expected a floating dtype such as 'float32', or None for the "
            f"weights' own, got {dtype!r}."
        )
    if found != wanted:
        warnings.warn(
            f"{wanted} weights become {found}: jax_enable_x64 is off.", stacklevel=2
        )
    return found


def copied(array: np.ndarray) -> jax.Array:
    """A copy, because the original weights may be trained further."""
    return jnp.array(array, copy=True)


def total(name: str, terms: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The sum of arrays of one shape, made in float64 and rounded once to `dtype`.

    Raises:
        ValueError: where finite numbers become infinite, or shapes differ.
    """
    if len({a.shape for a in terms}) > 1:
        raise ValueError(
            f"{name}: expected biases of one shape, got "
            f"{' and '.join(str(list(a.shape)) for a in terms)}."
        )
    if len(terms) == 1 and terms[0].dtype == dtype:
        return terms[0]
    with np.errstate(over="ignore", invalid="ignore"):
        wide = [a.astype(np.float64) for a in terms]
        made = sum(wide[1:], wide[0]).astype(dtype)
    lost = np.all(np.isfinite(wide), axis=0) & ~np.isfinite(made)
    if lost.any():
        first = tuple(map(int, np.argwhere(lost)[0]))
        numbers = " + ".join(f"{a[first]:.6g}" for a in wide)
        wider = "float32" if dtype.itemsize < 4 else "float64"
        more = "" if dtype == np.float64 else f" Give dtype={wider!r}."
        if (
            wider == "float64"
            and more
            and jax.dtypes.canonicalize_dtype(np.float64) != np.float64
        ):
            more = " Give dtype='float64' under jax_enable_x64."
        raise ValueError(
            f"{name}: expected numbers that {dtype} holds, got {numbers} at "
            f"{list(first)}, which overflows.{more}"
        )
    return made


# What errors call the arrays of one cell.
ARRAYS = ("input kernel", "recurrent kernel", "bias", "bias of n")


def assemble(
    name: str,
    wx: Any,
    wh: Any,
    biases: Sequence = (),
    bn: Any = None,
    *,
    dtype: np.dtype | None = None,
    arrays: Sequence[str] = ARRAYS,
) -> Any:
    """One cell's params in NumPy, from another library's arrays.

    Args:
        name: what errors call the cell.
        wx, wh: ``[F, G H]`` and ``[H, G H]``, gates in jaxrnn's order.
        biases: ``[G H]`` each; they are added. None at all is zeros.
        bn: the GRU's ``[H]``; None is zeros.
        dtype: of the params, from `floating`; None is the arrays' own.
        arrays: what errors call wx, wh, the sum of `biases`, and bn.

    Raises:
        ValueError: for arrays that are no floats, whose shapes do not agree, or whose
            numbers overflow `dtype`.
    """
    names = [f"{name}: {part}" for part in arrays]
    given = [[wx], [wh], list(biases), [] if bn is None else [bn]]
    parts = [[array(n, a) for a in g] for n, g in zip(names, given, strict=True)]
    if dtype is None:
        dtypes = {a.dtype for part in parts for a in part}
        if len(dtypes) > 1:
            raise ValueError(
                f"{name}: expected weights of one dtype, got "
                f"{sorted(map(str, dtypes))}. Give dtype='float32', or another one."
            )
        dtype = held(dtypes.pop())
    sums = [
        total(n, part, dtype) if part else None
        for n, part in zip(names, parts, strict=True)
    ]
    return checked(name, *sums)


def checked(name: str, wx: Any, wh: Any, b: Any = None, bn: Any = None) -> Any:
    """One cell's params in NumPy; the number of gates tells its kind.

    Args:
        name: what errors call the cell.
        wx, wh, b, bn: ``[F, G H]``, ``[H, G H]``, ``[G H]`` and ``[H]``; None is zeros.

    Raises:
        ValueError: for shapes or dtypes that do not agree.
    """
    hidden = wh.shape[0] if wh.ndim == 2 else 0
    gates = wh.shape[1] // hidden if hidden else 0
    kind = {g: k for k, g in GATES.items()}.get(gates)
    if kind is None or wh.shape != (hidden, gates * hidden):
        several = (
            " If axis 0 counts networks, take one of them: "
            "jax.tree.map(lambda a: a[0], ...)."
        )
        raise ValueError(
            f"{name}: expected a recurrent kernel for 1, 3 or 4 gates (simple RNN, GRU, "
            f"LSTM), here [H, gates * H], got {list(wh.shape)}."
            f"{several * (wh.ndim == 3)}"
        )
    if wx.ndim != 2 or wx.shape[1] != gates * hidden or not len(wx):
        raise ValueError(
            f"{name}: expected an input kernel, here [F, {gates * hidden}], as the "
            f"recurrent one is {list(wh.shape)}, got {list(wx.shape)}."
        )
    if bn is not None and kind is not GRUParams:
        raise ValueError(f"{name}: expected no bias of n except for a GRU, got one.")
    parts = [wx, wh, np.zeros(gates * hidden, wh.dtype) if b is None else b]
    if kind is GRUParams:
        parts.append(np.zeros(hidden, wh.dtype) if bn is None else bn)
    for part, width in zip(parts[2:], (gates * hidden, hidden), strict=False):
        if part.shape != (width,):
            raise ValueError(
                f"{name}: expected a bias [{width}], got {list(part.shape)}."
            )
    dtypes = {part.dtype for part in parts}
    if len(dtypes) != 1:
        raise ValueError(
            f"{name}: expected weights of one dtype, got "
            f"{sorted(map(str, dtypes))}. Cast them first."
        )
    return kind(*parts)


def array(name: str, value: Any) -> np.ndarray:
    """A floating NumPy array of an array of any library, torch tensors included."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            if "bfloat16" in str(value.dtype):  # torch has no NumPy array of it
                value = jnp.from_dlpack(value.contiguous())
        a = np.asarray(value)
    except jax.errors.TracerArrayConversionError:
        raise ValueError(
            f"{name}: expected an array, got a traced one. Convert outside of jax.jit "
            "and of other transformations."
        ) from None
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{name}: expected an array of floats ({error}).") from error
    if not jnp.issubdtype(a.dtype, jnp.floating):
        packed = (
            " If the module is quantised, convert the one before it was."
            if a.dtype.kind in "iu"
            else ""
        )
        raise ValueError(
            f"{name}: expected an array of floats, got {a.dtype} "
            f"({type(value).__name__}).{packed}"
        )
    return a


def numpys(a: np.ndarray) -> np.ndarray:
    """`a`, or its float32 copy if its dtype is none of NumPy's own, as bfloat16 is."""
    return a if np.issubdtype(a.dtype, np.floating) else a.astype(np.float32)


def names_of(
    name: str, tree: Any, required: Sequence[str], optional: Sequence[str] = ()
) -> dict:
    """`tree` as a dict, or a ValueError unless it has these names and no others."""
    have = set(tree) if isinstance(tree, Mapping) else set()
    if not (set(required) <= have <= {*required, *optional}):
        got = sorted(map(str, have)) or type(tree).__name__
        may = f", and perhaps {list(optional)}" if optional else ""
        raise ValueError(f"{name}: expected {list(required)}{may}, got {got}.")
    return dict(tree)


def split(gates: Any, count: int) -> list[np.ndarray]:
    """The gates of a packed kernel or bias ``[..., count * H]``."""
    return np.split(gates, count, axis=-1)


def pack(*gates: Any) -> np.ndarray:
    return np.concatenate(gates, axis=-1)


def no_bias(library: str, params: Any) -> None:
    """Raises ValueError unless all biases are zero, for a layer there without any."""
    biases = [params.b] + ([params.bn] if isinstance(params, GRUParams) else [])
    if any(np.any(b) for b in biases):
        raise ValueError(
            f"bias: {library} would drop biases that are not zero. Give bias=True."
        )


def only(library: str, apart: Layers, activations: Sequence, merges: Sequence) -> None:
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

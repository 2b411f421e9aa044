"""Through a stack and bidirectional cells: layers, each with one or two directions.

A library's layout is first read into a list with one tuple per layer. The tuple holds one
cell's params, or two, forward and backward.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._spec import name_of
from jaxrnn.cell import Cell
from jaxrnn.cells.convolution import images
from jaxrnn.cells.options import ACTIVATIONS
from jaxrnn.compose import BidirectionalParams, bidirectional, stack
from jaxrnn.convert._arrays import array, copied
from jaxrnn.convert._assemble import checked
from jaxrnn.convert._kinds import kind_of
from jaxrnn.convert._refusals import misfit, no_cell, where_params_are


class Layers(NamedTuple):
    """A cell taken apart.

    Fields:
        params: one tuple per layer, with one or two cells' params in NumPy.
        activations: the names of the simple RNNs' activations, in order.
        convolutions: the options of the convolutions of cells of images, in order.
        merges: how the bidirectional layers' outputs are merged, in order.
    """

    params: list
    activations: list
    convolutions: list
    merges: list


def take_apart(cell: Cell, params: Any) -> Layers:
    """The layers of a cell, or a ValueError that says why no library has such a cell."""
    if not isinstance(cell, Cell):
        raise ValueError(f"cell: expected a jaxrnn.Cell, got {no_cell(cell, params)}")
    try:
        layers = _layers(cell, params)
    except ValueError as error:
        hint = where_params_are(params, lambda part: _layers(cell, part).params)
        raise ValueError(f"{error}{hint}") from error.__cause__
    merged = iter(layers.merges)
    _check_widths(
        layers.params,
        [next(merged) if len(layer) == 2 else None for layer in layers.params],
    )
    return layers


def check_options(
    library: str, layers: Layers, activations: Sequence, merges: Sequence
) -> None:
    """Raises ValueError for activations or merges that `library` does not have."""
    for name, values, allowed in (
        ("activation", layers.activations, activations),
        ("merge", layers.merges, merges),
    ):
        for value in values:
            if value not in allowed:
                raise ValueError(
                    f"cell: {library} has no {name} {value!r}, only {list(allowed)}."
                )


def check_convolutions(library: str, cell: Cell, layers: Layers, *, own: bool) -> None:
    """Raises ValueError for images that `library` convolves in another way.

    Args:
        library, cell, layers: what is converted.
        own: whether an input's convolution has options of its own there; the recurrent
            kernel has the size of the input's in all libraries.
    """
    plain = dict(padding="SAME")
    for options in layers.convolutions:
        n = len(options["strides"])
        plain |= dict(strides=(1,) * n, dilation=(1,) * n)
        if not own and options != plain:
            raise ValueError(
                f"cell: {library} convolves with strides and dilation of 1 and the "
                f'padding "SAME" alone, got {cell!r}.'
            )
    for p in (p for layer in layers.params for p in layer):
        if p.wx.ndim > 2 and p.wx.shape[:-2] != p.wh.shape[:-2]:
            raise ValueError(
                f"cell: {library} has one kernel size for inputs and memory, got {cell!r}."
            )


def _layers(cell: Cell, params: Any) -> Layers:
    make, arguments = _call_of(cell)
    if make is stack:
        inner = cell.parts
        if not isinstance(params, tuple) or len(params) != len(inner):
            size = f" of {len(params)}" if type(params) in (tuple, list) else ""
            raise ValueError(
                f"params: expected a tuple of {len(inner)} layers for "
                f"{cell!r}, got {type(params).__name__}{size}."
            )
        every = [_layers(c, p) for c, p in zip(inner, params, strict=True)]
        return Layers(*([a for layers in every for a in layers[n]] for n in range(4)))
    if make is bidirectional:
        if not isinstance(params, BidirectionalParams):
            raise ValueError(
                f"params: expected BidirectionalParams for {cell!r}, "
                f"got {type(params).__name__}."
            )
        ways = [_one(c, p) for c, p in zip(cell.parts, params, strict=True)]
        merge = arguments["merge"]
        merge = merge if isinstance(merge, str) else name_of(merge)
        return Layers(_layer_of(ways), *_untold(ways), [merge])
    one = [_one(cell, params)]
    return Layers(_layer_of(one), *_untold(one), [])


def _layer_of(ways: list) -> list:
    """One layer, as in `Layers.params`."""
    return [tuple(made for made, _ in ways)]


def _untold(ways: list) -> tuple[list, list]:
    """The activations and the convolutions of a layer."""
    activations = [
        _activation(untold["activation"])
        for _, untold in ways
        if "activation" in untold
    ]
    return activations, [untold for _, untold in ways if "strides" in untold]


def _one(cell: Cell, params: Any) -> tuple[Any, dict]:
    """One cell's params in NumPy, and what of its options they do not tell."""
    make, arguments = _call_of(cell)
    kind = kind_of(params)
    if kind is None or not kind.makes(make, arguments):
        raise misfit(cell, make, arguments, params)
    name = f"params of {cell!r}"
    weights = {
        field: np.array(array(f"{name}: {field}", a), order="C")
        for field, a in zip(params._fields, params, strict=True)
    }
    made = checked(name, among=[kind], **weights)
    sizes = kind.sizes(weights)
    told = {name: arguments[name] for name in (*sizes, *kind.untold)}
    if kind.images:
        told = _each_dimension(told)
    if any(told[name] != size for name, size in sizes.items()):
        raise ValueError(
            f"params: expected those of {cell!r}, got wh {list(made.wh.shape)}."
        )
    return made, {name: told[name] for name in kind.untold}


def _each_dimension(options: dict) -> dict:
    """The arguments of a factory of cells of images, for each dimension."""
    names = ("kernel", "recurrent_kernel", "strides", "padding", "dilation")
    convs = images(*(options[name] for name in names))
    return options | dict(
        kernel=convs.kernel,
        recurrent_kernel=convs.recurrent_kernel,
        **convs.of_input._asdict(),
    )


def _call_of(cell: Cell) -> tuple[Callable | None, dict]:
    """The factory that made what a cell computes, and its arguments by name.

    Its init and its initial carry may be others: they are no weights.
    """
    made, *call = getattr(cell.step, "made", (None,))
    if made is None or (made.parts, made.unroll) != (cell.parts, cell.unroll):
        return None, {}
    make, args, options = call
    bound = inspect.signature(make).bind(*args, **options)
    bound.apply_defaults()
    return make, bound.arguments


def _activation(option: str | Callable) -> str:
    """The name of an activation; jnp.tanh and "tanh" have one."""
    names = {f: name for name, f in ACTIVATIONS.items()}
    return option if isinstance(option, str) else names.get(option, name_of(option))


def put_together(
    layers: Sequence[tuple],
    *,
    merge: str | Callable = "concat",
    **untold: Any,
) -> tuple[Cell, Any]:
    """``(cell, params)`` of layers in NumPy: a bare cell for one, else a `stack`.

    Args:
        layers: one tuple per layer, as in `Layers.params`.
        merge: of bidirectional layers.
        untold: what weights do not tell of those kinds that have it: `Kind.untold`.

    Raises:
        ValueError: for layers whose input width is not the output width of the one
            before, unless `merge` is a function.
    """
    _check_widths(layers, [merge] * len(layers))
    cells, params = [], []
    for layer in layers:
        made = [_made(p, untold) for p in layer]
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
        reads = {p.wx.shape[-2] for p in layer}
        if len(reads) > 1:
            raise ValueError(
                f"layer {number}: expected both directions to read the same input, "
                f"got {sorted(reads)} features. Two layers are a list of two."
            )
        if width is not None and reads != {width}:
            raise ValueError(
                f"layer {number}: expected an input kernel for the {width} outputs "
                f"of the layer before, got one for {layer[0].wx.shape[-2]}."
            )
        widths = [p.wh.shape[-2] for p in layer]
        if len(layer) == 1 or merge in ("sum", "mean", "product"):
            width = widths[0]
        else:  # of a function nothing is known
            width = sum(widths) if merge == "concat" else None


def _made(params: Any, untold: dict) -> Cell:
    kind = kind_of(params)
    assert kind is not None
    return kind.make(params._asdict(), untold)

"""What is refused, and why: cells, params, options and biases that no library has."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxrnn import noise
from jaxrnn.cell import Cell
from jaxrnn.compose import (
    bidirectional,
    learned_carry,
    residual,
    stack,
    with_carries,
)
from jaxrnn.convert import _kinds
from jaxrnn.convert._foreign import inside
from jaxrnn.precision import _precise

WHOLE_STACK = (
    "peers read every layer both ways, not a whole stack; make it "
    "stack(bidirectional(...), bidirectional(...))"
)
# Factory -> why no library has a counterpart of what it makes, and what to do.
REASONS = {
    stack: WHOLE_STACK,  # where one cell is expected: inside of bidirectional
    bidirectional: WHOLE_STACK,
    residual: "no peer adds inputs to outputs; convert the cell inside, "
    "cell.parts[0], with the same params",
    with_carries: "its outputs hold the carry too; convert the cell inside, "
    "cell.parts[0], with the same params",
    _precise: "no file says what a peer computes in; convert the cell inside, with "
    "the same params",
    learned_carry: "peers take the initial carry as an input; convert the cell "
    "inside, cell.parts[0], with params.cell",
} | dict.fromkeys(
    noise.KINDS,
    "peers keep noise beside their weights; convert the cell that it was put around, "
    "with the same params",
)
# How params of jaxrnn.linen, which are dicts, become the cell's.
FROM_TREE = (
    " Of a jaxrnn.linen module give "
    "jaxrnn.linen.from_tree(cell, variables['params']['cell'], features)."
)


def misfit(
    cell: Cell, make: Callable | None, arguments: Mapping, params: Any
) -> ValueError:
    """The error for one cell whose params are another's, or that no library has.

    Args:
        cell: the cell.
        make: the factory that made it, or None.
        arguments: of the factory, by name.
        params: what was given as its params.
    """
    for kind in _kinds.KINDS:
        if kind.makes(make, arguments):
            return ValueError(
                f"params: expected {kind.params.__name__} for {cell!r}, "
                f"got {type(params).__name__}."
            )
    what = repr(cell) if cell.spec else "a cell without a spec"
    unknown = "its equations are not known here"
    reason = unknown if make is None else REASONS.get(make, unknown)
    return ValueError(f"cell: {what} has no counterpart: {reason}.")


def no_cell(cell: Any, params: Any) -> str:
    """What was given for a cell, and what to give."""
    if isinstance(params, Cell):
        return f"{type(cell).__name__}. Give the cell first: (cell, params)."
    if isinstance(cell, tuple | Mapping):
        return f"{type(cell).__name__}, which are params. Give (cell, params)."
    if isinstance(getattr(cell, "cell", None), Cell):
        return f"{type(cell).__name__}. Give its .cell."
    factories = (*(kind.factory for kind in _kinds.KINDS), stack, bidirectional)
    if any(cell is make for make in factories):
        return f"the function {cell.__name__}. Call it: {cell.__name__}(...)."
    return f"{cell!r}."


def where_params_are(params: Any, takes: Callable) -> str:
    """What to say beside an error about params: where in them the right ones are.

    Args:
        params: what was given.
        takes: whether a part of it is the cell's params; it may raise for no.
    """
    place = inside("params", params, takes)
    if not place and isinstance(params, dict):
        return FROM_TREE
    if not place and not isinstance(params, tuple):
        return " The params are what cell.init(key, features) returns."
    return place


def no_bias(library: str, params: Any) -> None:
    """Raises ValueError unless all biases are zero, for a layer there without any."""
    kind = _kinds.kind_of(params)
    assert kind is not None
    seconds = [name for name, field in kind.fields.items() if field.gate is not None]
    if any(np.any(getattr(params, field)) for field in ("b", *seconds)):
        raise ValueError(
            f"bias: {library} would drop biases that are not zero. Give bias=True."
        )

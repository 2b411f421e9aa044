"""Functions that make cells: equal calls return the same cell."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

from jaxrnn.cell import Cell, call_of


def factory(make: Callable) -> Callable:
    """A function that makes cells, which pickle as the call that made them.

    A cell that is sent to another process is rebuilt there by the same call. Equal calls
    return the same cell in every process, so objects that hold a cell are equal where
    Flax and jit compare static values. Arguments that are arrays or may hold traced values
    are the exception.
    """
    known = functools.lru_cache(maxsize=1024, typed=True)(make)

    @functools.wraps(make)
    def called(*args, **options):
        values = (*args, *options.values())
        cell = (known if all(map(_fixed, values)) else make)(*args, **options)
        cell.step.made = (cell, called, args, options)
        return cell

    return called


def _fixed(value: Any, seen: tuple = ()) -> bool:
    """Whether a value may be kept as a key: it is hashable and holds nothing traced."""
    if any(value is s for s in seen):  # a function that calls itself
        return True
    if isinstance(value, Cell) and (call := call_of(value)):
        held = (*call[1], *call[2].values())
    elif isinstance(value, tuple):
        held = value
    elif isinstance(value, functools.partial):
        held = (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, FunctionType):
        try:
            held = tuple(c.cell_contents for c in value.__closure__ or ())
        except ValueError:  # not assigned yet
            return False
        held += value.__defaults__ or ()
    else:
        try:
            hash(value)
        except TypeError:
            return False
        return True
    return all(_fixed(inner, (*seen, value)) for inner in held)

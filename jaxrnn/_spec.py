"""`Cell.spec`: the kind and options of a cell, and how they are written."""

from collections.abc import Callable
from typing import Any

import numpy as np


def show(spec: tuple) -> str:
    """A `Cell.spec` as the call that made the cell; "Cell" where there is none."""
    if not spec:
        return "Cell"
    kind, *options = spec
    cells = list(map(show, cells_of(spec)))
    named = ["=".join(map(str, option)) for option in options if option[0] != "cells"]
    return f"{kind}({', '.join(cells + named)})"


def cells_of(spec: tuple) -> tuple:
    """The specs of the cells that a cell was made of."""
    return next((option[1] for option in spec[1:] if option[0] == "cells"), ())


def spec_of(kind: str, **options: Any) -> tuple:
    """A hashable `Cell.spec`. None is left out; arrays and tracers go by name only."""

    def entry(name, value):
        if _is_plain(value):
            return (name, value)
        if isinstance(value, (np.dtype, type)):
            return (name, np.dtype(value).name)
        if callable(value):
            return (name, name_of(value))
        return (name,)

    return (kind, *(entry(n, v) for n, v in options.items() if v is not None))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str))


def name_of(function: Callable) -> str:
    """A function's name in a `Cell.spec`; in brackets, unlike that of an option."""
    return f"<{getattr(function, '__name__', type(function).__name__)}>"

"""Functions that compute the same are compiled once, even if they were made anew.

``jax.jit`` knows a function by its identity: a loss that is defined inside a loop over
seeds is compiled for every seed. Here two functions are the same if their code is, and
all that they read from outside, as far as that cannot change.
"""

import dataclasses
import enum
import functools
import sys
import sysconfig
import types
from typing import Any

import jax
import numpy as np

from jaxrnn.cell import Cell

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype)
_KNOWN = (type, enum.Enum, types.BuiltinFunctionType, types.EllipsisType, jax.Array)
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib"))


class Same:
    """`value`, equal to all that compute the same; for the keys of a cache.

    What reads something that may change (a list, a dict, a NumPy array, an object of
    the user's) is the same as itself alone, as under ``jax.jit``.
    """

    def __init__(self, value: Any):
        self.value = value
        try:
            self._key = _key(value, {})
            hash(self._key)
        except (_Changes, TypeError):
            self._key = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Same):
            return False
        if self._key is None or other._key is None:
            return self.value is other.value
        return self._key == other._key

    def __hash__(self) -> int:
        return id(self.value) if self._key is None else hash(self._key)


class _Changes(Exception):
    """Something may change after it was looked at."""


class _Is:
    """Equal where it is of the same object, which it keeps alive."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Is) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _key(value: Any, seen: dict[int, int]) -> Any:
    if isinstance(value, _PLAIN):
        return type(value), repr(value)
    if isinstance(value, types.ModuleType):
        if _of_library(value.__name__):
            return _Is(value)
        raise _Changes
    if isinstance(value, _KNOWN):
        return _Is(value)
    if id(value) in seen:  # a function that reaches itself
        return "seen", seen[id(value)]
    seen[id(value)] = len(seen)
    each = lambda values: tuple(_key(one, seen) for one in values)
    if isinstance(value, Cell):  # the same if the call that made it is
        make, (*given, options) = _call(value)
        return make, each(given), tuple(options), each(options.values())
    if isinstance(value, tuple):
        return type(value), each(value)
    if isinstance(value, functools.partial):
        given = each(value.args), tuple(value.keywords), each(value.keywords.values())
        return "partial", _key(value.func, seen), given
    if isinstance(value, types.MethodType):
        return "method", _key(value.__func__, seen), _key(value.__self__, seen)
    if isinstance(value, types.FunctionType):
        return _key_of_function(value, each)
    params = getattr(type(value), "__dataclass_params__", None)
    if dataclasses.is_dataclass(value) and params is not None and params.frozen:
        names = [field.name for field in dataclasses.fields(value)]
        return type(value), each(getattr(value, name) for name in names)
    if callable(value) and _of_library(type(value).__module__.partition(".")[0]):
        if not isinstance(value, functools._lru_cache_wrapper):
            return _Is(value)  # a jitted function and its like
    raise _Changes


def _call(cell: Cell) -> tuple:
    """``(kind, (*arguments, options))`` that make the cell, as it is pickled."""
    make, arguments = cell.__reduce__()
    return make, arguments if make is not Cell else (*arguments, {})


def _key_of_function(function: Any, each: Any) -> Any:
    library = _of_library(function.__module__)
    home = sys.modules.get(function.__module__)
    if library and getattr(home, function.__name__, None) is function:
        return _Is(function)
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not yet filled
            raise _Changes from None
    defaults = function.__defaults__ or ()
    named = function.__kwdefaults__ or {}
    # What a library's module holds does not change; the user's may.
    names = () if library else sorted(_names(function.__code__))
    names = [name for name in names if name in function.__globals__]
    outside = [function.__globals__[name] for name in names]
    given = each(defaults), tuple(named), each(named.values())
    return function.__code__, each(cells), given, tuple(names), each(outside)


def _names(code: types.CodeType) -> set[str]:
    """The names of globals (and attributes) that a function reads, inner ones too."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


@functools.cache
def _of_library(name: str) -> bool:
    """Whether a module is installed, rather than the user's own."""
    top = name.partition(".")[0]
    if top == __name__.partition(".")[0] or top in sys.stdlib_module_names:
        return top != "__main__"
    origin = getattr(getattr(sys.modules.get(top), "__spec__", None), "origin", None)
    return bool(origin) and origin.startswith(_LIBRARIES)

"""Functions that compute the same are compiled once, even if they were made anew.

``jax.jit`` knows a function by its identity: a loss that is defined inside a loop over
seeds is compiled for every seed. Here two functions are the same if their code is, and
all that they read from outside, as far as that cannot change.
"""

import dis
import functools
import pathlib
import sys
import sysconfig
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrnn.cell import Cell

_PLAIN = (type(None), bool, int, float, complex, str, bytes, types.EllipsisType)
_HERE = str(pathlib.Path(__file__).parents[1])
_LIBRARIES = (_HERE, *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib")))


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


def reused(
    make: Callable, functions: tuple, *args: Any, batch_axis: Any, **options: Any
) -> Callable:
    """What `make` makes, one for all functions that compute the same: compiled once.

    Args:
        make: ``(functions, *args, batch_axis=, **options) -> function``.
        functions: of the user's.
        args, options: hashable.
        batch_axis: a tree of ints, or None.
    """
    leaves, tree = jax.tree.flatten(batch_axis)
    named = tuple(sorted(options.items()))
    same = tuple(map(Same, functions))
    return _remembered(make, same, args, tuple(leaves), tree, named)


@functools.lru_cache(maxsize=4)
def _remembered(make, functions, args, leaves, tree: Any, named) -> Callable:
    axes = jax.tree.unflatten(tree, leaves)
    values = tuple(function.value for function in functions)
    return make(values, *args, batch_axis=axes, **dict(named))


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
    kind = type(value)
    if kind in _PLAIN or isinstance(value, np.generic | np.dtype):
        return kind, repr(value)
    if _is_fixed(value):
        return _Is(value)
    if id(value) in seen:  # a function that reaches itself
        return "seen", seen[id(value)]
    seen[id(value)] = len(seen)
    each = lambda values: tuple(_key(one, seen) for one in values)
    if isinstance(value, Cell):  # the same if the call that made it is
        make, (*arguments, options) = _call(value)
        return make, each(arguments), tuple(options), each(options.values())
    if isinstance(value, tuple) and (kind is tuple or _of_library(kind.__module__)):
        return kind, each(value)
    if isinstance(value, functools.partial) and kind is functools.partial:
        named = tuple(value.keywords), each(value.keywords.values())
        return "partial", _key(value.func, seen), each(value.args), *named
    if isinstance(value, types.MethodType):
        return "method", _key(value.__func__, seen), _key(value.__self__, seen)
    if isinstance(value, types.FunctionType):
        return _key_of_function(value, each)
    raise _Changes


def _is_fixed(value: Any) -> bool:
    """Whether nothing that `value` computes can change: an array of JAX, library code."""
    if isinstance(value, types.ModuleType):
        return _of_library(value.__name__)
    if isinstance(value, type):
        return _of_library(value.__module__)
    if isinstance(value, types.BuiltinFunctionType):  # of a module, not of an object
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    if isinstance(value, jax.Array | np.ufunc):
        return True
    top = (type(value).__module__ or "").partition(".")[0]
    return callable(value) and top in (
        "jax",
        "jaxlib",
    )  # a jitted function and its like


def _call(cell: Cell) -> tuple:
    """``(kind, (*arguments, options))`` that make the cell, as it is pickled."""
    make, arguments = cell.__reduce__()
    return make, arguments if make is not Cell else (*arguments, {})


def _key_of_function(function: types.FunctionType, each: Any) -> Any:
    code, outside = function.__code__, function.__globals__
    library = code.co_filename.startswith(_LIBRARIES)
    module = sys.modules.get(function.__module__ or "")
    if library and getattr(module, function.__name__, None) is function:
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
    names: list[str] = []
    if not library:
        if set(vars(function)) - {"__wrapped__"}:
            raise _Changes
        names = sorted(name for name in _names(code) if name in outside)
    defaulted = each(defaults), tuple(named), each(named.values())
    return code, each(cells), defaulted, tuple(names), each(outside[n] for n in names)


def _names(code: types.CodeType) -> set[str]:
    """The names of globals that a function reads, inner functions too."""
    found = set()
    for step in dis.get_instructions(code):
        if step.opname.startswith("IMPORT_"):
            raise _Changes  # what is imported there is not among the globals
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found.add(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


@functools.cache
def _of_library(name: str | None) -> bool:
    """Whether a module is installed, rather than the user's own."""
    top = (name or "").partition(".")[0]
    if top == __name__.partition(".")[0] or top in sys.stdlib_module_names:
        return top != "__main__"
    origin = getattr(getattr(sys.modules.get(top), "__spec__", None), "origin", None)
    return bool(origin) and origin.startswith(_LIBRARIES)

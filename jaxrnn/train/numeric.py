"""What counts as an array in data: numbers and bools, in any library's arrays or lists."""

import numbers
from typing import Any

import jax
import numpy as np


def flat(name: str, tree: Any) -> tuple[list, Any]:
    """``(leaves, structure)`` of a tree of arrays; see `array`.

    A list is an array. Trees are dicts, tuples, NamedTuples and whatever else is a pytree.
    """
    leaves, structure = jax.tree.flatten(tree, is_leaf=_is_list)
    if not leaves:
        raise ValueError(
            f"{name}: expected an array or a tree of arrays, got {tree!r}."
        )
    if all(type(leaf) is np.ndarray and is_data(leaf.dtype) for leaf in leaves):
        return leaves, structure
    paths = jax.tree.leaves_with_path(tree, is_leaf=_is_list)
    path = jax.tree_util.keystr
    return [array(f"{name}{path(at)}", leaf) for at, leaf in paths], structure


def array(name: str, value: Any, wanted: str = "an array of numbers or bools") -> Any:
    """`value` as an array of numbers or bools; `wanted` is what an error asks for.

    An object with a shape and a NumPy dtype is not read: it may be a file. Lists and
    arrays of other libraries become NumPy arrays.

    Raises:
        ValueError: for ragged lists, text, objects, and integers that the floats beside
            them in a list cannot hold.
    """
    value = value.to_numpy() if hasattr(value, "to_numpy") else value
    made, dtype = value, getattr(value, "dtype", None)
    if isinstance(value, jax.Array) or not isinstance(dtype, np.dtype):
        try:
            made = np.asarray(value)
        except Exception as error:
            ragged = "inhomogeneous" in str(error)  # of all that NumPy says
            reason = "Its parts differ in shape." if ragged else error
            raise ValueError(
                f"{name}: expected {wanted}, got {short(value)}. {reason} "
                "A list is one array; a tree of arrays is a tuple or dict."
            ) from error
    if not is_data(made.dtype):
        raise ValueError(
            f"{name}: expected {wanted}, got {made.dtype}: {short(value)}."
        )
    if _is_list(value) and made.dtype == np.float64 and beyond(made, made.dtype):
        # NumPy has rounded large integers that stand beside floats.
        for was, now in zip(np.array(value, object).flat, made.flat, strict=True):
            if isinstance(was, numbers.Integral) and int(was) != float(now):
                raise ValueError(
                    f"{name}: expected numbers of one dtype, got {was} among floats."
                )
    return made


def beyond(values: np.ndarray, to: Any) -> bool:
    """Whether some of `values` are larger than the integers that floats `to` all hold."""
    most = 2 ** (jax.numpy.finfo(to).nmant + 1)
    return bool(((values > most) | (values < -most)).any())


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def is_data(dtype: np.dtype) -> bool:
    """Whether JAX has arrays of it: numbers and bools."""
    if dtype.kind in "biufc":
        return dtype.itemsize <= 8 or dtype == np.complex128
    return jax.numpy.issubdtype(dtype, np.number)  # bfloat16 and its like


def short(value: Any) -> str:
    """What `value` is, for an error, on one line."""
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} " + (text if len(text) < 60 else text[:56] + " ...")

"""Arrays of any library as NumPy's: their dtypes and their sums."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


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

"""Trees of arrays: their types, their dtypes, what differs between two of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def one_step(xs: Any, leading: int = 1) -> Any:
    """The type of `xs` without its `leading` axes, which may be empty or symbolic.

    A sum, so that mesh axes and shardings come along; nothing is computed.
    """

    def drop(a):
        if jnp.issubdtype(a.dtype, jax.dtypes.extended):  # keys have no sum
            return a[(0,) * leading]
        return jnp.sum(a, axis=tuple(range(leading)), dtype=a.dtype)

    return jax.eval_shape(lambda xs: jax.tree.map(drop, xs), xs)


def retype(value: Any, like: Any) -> Any:
    """`value` with the dtypes, shardings and varying mesh axes of `like`."""

    def one(v, s):
        if v.dtype == s.dtype and jax.typeof(v) == jax.typeof(s):
            return v
        return jnp.zeros_like(s) + jnp.asarray(v).astype(s.dtype)

    return jax.tree.map(one, value, like)


def as_arrays(name: str, tree: Any) -> Any:
    """`tree` with a `jax.Array` in place of each leaf.

    Raises a ValueError that names the first that is no array.
    """

    def one(path, leaf):
        try:
            return jnp.asarray(leaf)
        except TypeError as error:
            name_of = f"{name}{jax.tree_util.keystr(path)}"
            raise ValueError(f"{name_of}: expected an array, got {leaf!r}.") from error

    return jax.tree.map_with_path(one, tree)


def check_like(name: str, value: Any, expected: Any, remedy: str, dtypes=True) -> None:
    """Raises a ValueError that names the first leaf of `value` unlike `expected`.

    Args:
        name: what the message calls `value`.
        value: a pytree of arrays.
        expected: a pytree of arrays or `jax.ShapeDtypeStruct`.
        remedy: how to mend it.
        dtypes: whether dtypes must agree too.
    """
    have, want = jax.tree.structure(value), jax.tree.structure(expected)
    if have != want:
        said, wanted = structure_of(value), structure_of(expected)
        if said == wanted:
            said, wanted = f"{have}", f"{want}"
        raise ValueError(f"{name}: expected {wanted}, got {said}. {remedy}")
    got = jax.tree.leaves_with_path(value)
    for (path, a), e in zip(got, jax.tree.leaves(expected), strict=True):
        a = a if hasattr(a, "dtype") else np.asarray(a)
        if a.shape != e.shape or (dtypes and a.dtype != e.dtype):
            kind = f"{e.dtype} " if dtypes else ""
            came = f"{a.dtype} " if dtypes else ""
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)}: expected {kind}{list(e.shape)}, "
                f"got {came}{list(a.shape)}. {remedy}"
            )


def structure_of(tree: Any) -> str:
    """A pytree as a reader writes it: ``LSTMCarry(h, c)``, ``(array, None)``."""
    if tree is None or isinstance(tree, str):
        return repr(tree)
    if isinstance(tree, dict):
        items = [f"{name!r}: {structure_of(value)}" for name, value in tree.items()]
        return "{" + ", ".join(items) + "}"
    names = getattr(tree, "_fields", None)
    if isinstance(tree, tuple) and names is not None:
        fields = [(name, structure_of(getattr(tree, name))) for name in names]
        inner = [n if said == "array" else f"{n}={said}" for n, said in fields]
        return f"{type(tree).__name__}({', '.join(inner)})"
    if isinstance(tree, tuple):
        return f"({', '.join(map(structure_of, tree))}{',' * (len(tree) == 1)})"
    if isinstance(tree, list):
        return f"[{', '.join(map(structure_of, tree))}]"
    leaf = jax.tree.structure(tree) == jax.tree.structure(0)
    return "array" if leaf and hasattr(tree, "shape") else type(tree).__name__


def wide(dtype: Any) -> np.dtype:
    """float32, or `dtype` if that is a wider float: what sums and draws are made in."""
    dtype = jnp.dtype(dtype)
    wider = jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize > 4
    return dtype if wider else jnp.dtype(jnp.float32)


def aligned(a: jax.Array, like: jax.Array) -> jax.Array:
    """`a` with leading axes of size 1, so that it has as many axes as `like`.

    A bias ``[H]`` beside ``[*batch, H]``: under ``jax_numpy_rank_promotion="raise"``
    JAX refuses to do this by itself.
    """
    return jax.lax.expand_dims(a, range(like.ndim - a.ndim))


def select(where: jax.Array | None, then: Any, otherwise: Any) -> Any:
    """`then` where the bools [*batch] hold, else `otherwise`: trees of [*batch, ...].

    `where=None` means everywhere; `otherwise` may be the number 0.
    """
    if where is None:
        return then
    if isinstance(otherwise, int):
        otherwise = jax.tree.map(jnp.zeros_like, then)

    def one(a, b):
        axes = max(a.ndim, b.ndim) - where.ndim
        return jnp.where(where.reshape(where.shape + (1,) * axes), a, b)

    return jax.tree.map(one, then, otherwise)

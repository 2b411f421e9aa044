"""Tangents as a custom rule wants them: trees like their primals, with None for a zero.

None stands for a leaf that has no tangent: one that is not perturbed, or an integer, a
bool or a key. So nothing is computed for what nobody differentiates.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from jaxrnn._tree import select


def from_jax(primals: Any, tangents: Any) -> Any:
    """The tangents that a custom rule is given, as such trees."""
    return jax.tree.map(
        lambda _, d: None if isinstance(d, SymbolicZero) else d, primals, tangents
    )


def jvp(f: Callable, args: Any, dargs: Any) -> tuple[Any, Any]:
    """``(f(*args), its tangent)``; only leaves that have a tangent are perturbed."""
    leaves, tree = jax.tree.flatten(tuple(args))
    dots = tree.flatten_up_to(tuple(dargs))
    live = [i for i, d in enumerate(dots) if d is not None]

    def perturbed(*some):
        full = list(leaves)
        for i, value in zip(live, some, strict=True):
            full[i] = value
        return f(*jax.tree.unflatten(tree, full))

    if not live:
        out = perturbed()
        return out, none(out)
    out, dout = jax.jvp(perturbed, [leaves[i] for i in live], [dots[i] for i in live])
    return out, jax.tree.map(lambda a, d: d if _floats(a) else None, out, dout)


def none(tree: Any) -> Any:
    return jax.tree.map(lambda _: None, tree)


def add(primal: Any, a: Any, b: Any) -> Any:
    def one(_, x, y):
        return x if y is None else y if x is None else x + y

    return jax.tree.map(one, primal, a, b)


def choose(primal: Any, where: Any, then: Any, otherwise: Any) -> Any:
    """`select` for tangents."""

    def one(a, x, y):
        if where is None or (x is None and y is None):
            return x
        return select(where, dense(a, x), dense(a, y))

    return jax.tree.map(one, primal, then, otherwise)


def dense(primal: Any, d: Any) -> Any:
    return jnp.zeros_like(primal) if d is None and _floats(primal) else d


def to_jax(primal: Any, d: Any) -> Any:
    """A tangent as JAX wants it: dense, and a symbolic zero for what is no float."""
    if _floats(primal):
        return dense(primal, d)
    return zero_from_primal(primal, symbolic_zeros=True)


def _floats(a: Any) -> bool:
    return jnp.issubdtype(a.dtype, jnp.inexact)

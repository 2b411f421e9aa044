"""Closed-over traced values become explicit arguments, so that a rule can see them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.core import eval_jaxpr


class Pure(NamedTuple):
    """A function without closures.

    Fields:
        call: ``(consts, *args) -> out``.
        consts: the traced values that the original closed over.
        reads: ``(consts, *args)`` as trees of bool: which leaves the function reads.
        calls_out: whether it calls Python when it runs: debugging and I/O callbacks.
        convolves: whether there is a convolution in it.
    """

    call: Callable
    consts: tuple
    reads: tuple
    calls_out: bool = False
    convolves: bool = False


def hoist(f: Callable, *example: Any) -> Pure:
    """`f` as a `Pure` function: ``pure.call(pure.consts, *args) == f(*args)``.

    Every constant counts: floats, integers, keys, and values batched by an outer vmap.
    (`jax.closure_convert` leaves the latter three behind.)

    Args:
        f: a function of pytrees.
        example: arguments, or their types, of the shapes that `call` will get.
    """
    closed, out = jax.make_jaxpr(lambda *args: f(*args), return_shape=True)(*example)
    consts, tree = tuple(closed.consts), jax.tree.structure(out)

    def explicit(consts, *args):
        return eval_jaxpr(closed.jaxpr, consts, *jax.tree.leaves(args))

    # Traced once more, so that the jaxpr holds no tracer: newer JAX keeps constants on
    # it.
    jaxpr = jax.make_jaxpr(explicit)(consts, *example).jaxpr

    def call(consts, *args):
        outs = eval_jaxpr(jaxpr, (), *jax.tree.leaves((consts, *args)))
        return jax.tree.unflatten(tree, outs)

    read = {v for eqn in jaxpr.eqns for v in eqn.invars if not hasattr(v, "val")}
    read |= {v for v in jaxpr.outvars if not hasattr(v, "val")}
    structure = jax.tree.structure((consts, *example))
    reads = jax.tree.unflatten(structure, [v in read for v in jaxpr.invars])
    # A `jax.pure_callback` has no effect of JAX's kind.
    calls_out = bool(jaxpr.effects) or _has(jaxpr, "pure_callback")
    return Pure(call, consts, reads, calls_out, _has(jaxpr, "conv_general_dilated"))


def _has(jaxpr: Any, name: str) -> bool:
    """Whether a primitive of this name is in it."""

    def inside(value):
        if isinstance(value, tuple | list):
            return any(map(inside, value))
        value = getattr(value, "jaxpr", value)
        return hasattr(value, "eqns") and _has(value, name)

    return any(
        eqn.primitive.name == name or any(map(inside, eqn.params.values()))
        for eqn in jaxpr.eqns
    )

"""A cell's programs: traced once, and evaluated by NumPy for every law that needs them.

All take ``(params, carry, xs, lengths, mask, resets)``; those with gradients also the
`weights_of` the outputs, and return ``((carry, hs), gradients)``. One of a cell's is
compiled: see `compiled`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.laws.cases import (
    CELLS,
    ENGINES,
    B,
    T,
    beside,
    by_hand,
    example,
    floats,
    weighed,
    weights_of,
    with_grads,
)
from tests.laws.numpy_jaxpr import evaluate, trace


def unrolled(cell: Any, engine: Any = "auto", reverse=False, remat=None) -> Callable:
    """Of a cell, or of the table's cell of this name."""
    cell = CELLS[cell] if isinstance(cell, str) else cell

    def run(params, carry, xs, lengths, mask, resets):
        options = dict(lengths=lengths, mask=mask, resets=resets, remat=remat)
        options |= dict(
            reverse=reverse,
            engine=ENGINES.get(engine, engine) if isinstance(engine, str) else engine,
        )
        return jaxrnn.unroll(cell, params, carry, xs, **options)

    return run


def looped(name: str, reverse=False) -> Callable:
    """The meaning of `unrolled`: a Python loop of ``step``."""

    def run(params, carry, xs, lengths, mask, resets):
        steps = jnp.arange(len(xs))
        inside = steps.reshape(-1, *(1,) * lengths.ndim) < lengths
        valid = inside & mask
        xs = jnp.where(beside(valid, xs), xs, 0)
        return by_hand(CELLS[name], params, carry, xs, valid, resets & inside, reverse)

    return run


@functools.cache
def given(name: str, batch: tuple = (B,), steps: int = T) -> tuple:
    """The example of a cell, with lengths, mask and resets that are no trivial ones."""
    rng = np.random.RandomState(17)
    mask, resets = (rng.rand(steps, *batch) < p for p in (0.7, 0.3))
    lengths = np.linspace(steps, 0, np.prod(batch, dtype=int)).astype(int)
    arrays = jax.tree.map(np.asarray, example(name, batch, steps))
    return *arrays, lengths.reshape(batch), mask, resets


@functools.cache
def weights(name: str, batch: tuple = (B,), steps: int = T) -> list:
    """For the outputs of `given`."""
    return weights_of(
        jax.eval_shape(unrolled(name, "scan"), *given(name, batch, steps))
    )


@functools.cache
def values(
    name: str, engine: Any = "auto", reverse=False, batch: tuple = (B,), steps: int = T
) -> Callable:
    return trace(unrolled(name, engine, reverse), *given(name, batch, steps))


@functools.cache
def gradients(
    name: str,
    engine: Any = "auto",
    reverse: bool = False,
    remat: Any = None,
    batch: tuple = (B,),
    steps: int = T,
) -> Callable:
    run = with_grads(unrolled(name, engine, reverse, remat), weighs=True)
    return trace(run, *given(name, batch, steps), weights(name, batch, steps))


@functools.cache
def oracle(
    name: str, reverse: bool = False, batch: tuple = (B,), steps: int = T
) -> Callable:
    run = with_grads(looped(name, reverse), weighs=True)
    return trace(run, *given(name, batch, steps), weights(name, batch, steps))


@functools.cache
def step(name: str, batch: tuple = (B,)) -> Callable:
    """``(params, carry, x) -> (carry, h)``."""
    params, carry, xs = given(name, batch)[:3]
    return trace(CELLS[name].step, params, carry, xs[0])


@functools.cache
def fresh(name: str, batch: tuple = ()) -> Any:
    """The carry to which resets go."""
    params, _, xs = given(name, batch)[:3]
    return evaluate(CELLS[name].initial_carry, params, xs[0])


@functools.cache
def tangent(name: str) -> Callable:
    """``(args, weights, dargs)`` to the loss's tangent; dargs of the floats alone."""

    def run(args, weights, dargs):
        leaves, tree = jax.tree.flatten(args[:3])
        float_at = [jnp.issubdtype(a.dtype, jnp.floating) for a in leaves]

        def loss(*floats):
            moved = iter(floats)
            pairs = zip(leaves, float_at, strict=True)
            some = [next(moved) if moves else a for a, moves in pairs]
            out = unrolled(name)(*tree.unflatten(some), *args[3:])
            return weighed(out, weights)

        return jax.jvp(loss, tuple(floats(args[:3])), tuple(dargs))[1]

    args = given(name)
    return trace(run, args, weights(name), floats(args[:3]))


@functools.cache
def compiled(
    name: str, engine: Any = "auto", reverse: bool = False, remat: Any = None
) -> Callable:
    """`gradients`, by XLA: seconds each, so the quick suite has one for each cell."""
    return jax.jit(with_grads(unrolled(name, engine, reverse, remat), weighs=True))

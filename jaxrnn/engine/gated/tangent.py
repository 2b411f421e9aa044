"""The derivative of the gated engine: a tangent whose transpose defers the weights'.

See `jaxrnn.engine.gated` for the algebra. Two things here are for speed alone:

- `jax.checkpoint` around the tangent keeps carries and pre-activations only.
- Time and batch are merged to one axis before the batched jvp, whose transpose is then a
  plain product of two matrices.
"""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn._tree import select
from jaxrnn.engine import scan, tangents
from jaxrnn.engine.gated.forward import Equations, Loop, forward
from jaxrnn.engine.gated.rows import merged, over
from jaxrnn.engine.hoist import Pure


def differentiable(equations: Equations, loop: Loop) -> Callable:
    """``(consts, params, fresh, carry, steps) -> (carry, hs)`` with the deferred rule."""

    @jax.custom_jvp
    def run(*args):
        return forward(equations, loop, *args)

    def rule(primals, dots):
        consts, params, fresh, carry, (xs, valid, resets) = primals
        dots = tangents.from_jax(primals, dots)
        # The carry after each step and the pre-activations determine everything else.
        last, (after, pre) = forward(equations, loop, *primals, trace=True)
        shown = over(1 + loop.rows, equations.shown.call, 2)
        hs = select(valid, shown(consts[3], params, after), 0)

        block = _block(equations, loop, (consts, params, fresh), dots[:3])
        block = jax.checkpoint(block, prevent_cse=False)  # which keeps its inputs alone
        carries = carry, jax.tree.map(tangents.dense, carry, dots[3])
        steps = (after, pre, xs, dots[4][0], valid, resets)
        (_, dlast), dhs = scan.in_blocks(
            block, carries, steps, loop.block, loop.reverse, loop.least_blocks
        )
        return (last, hs), jax.tree.map(tangents.to_jax, (last, hs), (dlast, dhs))

    run.defjvp(rule, symbolic_zeros=True)
    return run


def _block(equations: Equations, loop: Loop, outer: tuple, douter: tuple) -> Callable:
    """The tangent of a block of steps: ``(carries, steps) -> (carries, dhs)``.

    Args:
        equations, loop: see there.
        outer: consts, params and fresh, which all steps share.
        douter: their tangents.
    """
    fresh = outer[2]
    waits = _waits(equations, loop, outer, douter[2])

    def block(carries, steps):
        (carry, dcarry), (after, pre, xs, dxs, valid, resets) = carries, steps
        before, left = _shift(carry, after, loop.reverse)
        if resets is not None:
            before = select(resets, fresh, before)
        points = before, pre, after, xs, dxs
        added = _added_by_all(equations, loop, outer, douter, points)
        inputs = (before, pre, xs, valid, resets, *added)
        dcarry, dhs = lax.scan(waits, dcarry, inputs, reverse=loop.reverse)
        return (left, dcarry), dhs

    return block


def _added_by_all(
    equations: Equations, loop: Loop, outer: tuple, douter: tuple, points: tuple
) -> tuple:
    """What weights, inputs and hyperparameters add to each step: one batch, no loop."""
    (consts, params, _), (dconsts, dparams, _) = outer, douter
    before, pre, after, xs, dxs = points
    project, recur, active, shown = equations
    n, none = 1 + loop.rows, tangents.none
    args = (consts[:2], params, before, xs)
    dargs = (dconsts[:2], dparams, none(before), dxs)
    dpre = _added(_composed(project, recur), 2, n, args, dargs)
    args, dargs = (before, pre), (none(before), none(pre))
    args, dargs = (consts[2], params, *args), (dconsts[2], dparams, *dargs)
    dnew = _added(active, 2, n, args, dargs)
    args, dargs = (consts[3], params, after), (dconsts[3], dparams, none(after))
    dhs = _added(shown, 2, n, args, dargs)
    return dpre, dnew, dhs


def _waits(equations: Equations, loop: Loop, outer: tuple, dfresh: Any) -> Callable:
    """The part of a step's tangent that waits for time: ``(dcarry, inputs)``.

    It is the carry's own, linear in itself and in what is added to it.
    """
    (consts, params, _), rows = outer, loop.rows
    affine = _composed(equations.project, equations.recur)
    turn, turn_back = (_same, _same) if loop.single else (_turned, _turned_back)
    turned = jax.tree.map(turn, (consts[:2], params))

    @jax.checkpoint
    def tangent(dcarry, inputs):
        c, a, x, valid, reset, dpre, dnew, dh = inputs
        dc = dcarry
        if reset is not None:
            dc = tangents.choose(c, reset, dfresh, dcarry)
        k, p = jax.tree.map(turn_back, turned)
        linear = lambda c: over(rows, affine.call, 2)(k, p, c, x)
        pre, da = tangents.jvp(linear, (c,), (dc,))
        da = tangents.add(pre, da, dpre)
        move = lambda c, a: over(rows, equations.active.call, 2)(
            consts[2], params, c, a
        )
        new, dn = tangents.jvp(move, (c, a), (dc, da))
        dn = tangents.add(new, dn, dnew)
        show = lambda c: over(rows, equations.shown.call, 2)(consts[3], params, c)
        h, ds = tangents.jvp(show, (new,), (dn,))
        ds = tangents.add(h, ds, dh)
        dleft = tangents.choose(new, valid, dn, dc)
        return dleft, tangents.choose(h, valid, ds, tangents.none(h))

    return tangent


def _added(pure: Pure, shared: int, axes: int, args: tuple, dargs: tuple) -> Any:
    """What the tangents of its arguments add to `pure`: all of `axes` as one batch.

    Args:
        pure: of one row.
        shared: its first arguments, without these axes.
        axes: time and rows, merged to one.
        args, dargs: arguments and tangents; those that `pure` does not read are left.
    """
    live = jax.tree.map(lambda _, d, r: d if r else None, args, dargs, pure.reads)
    flat, dflat = [*args[:shared]], [*live[:shared]]
    flat += [merged(a, axes) for a in args[shared:]]
    dflat += [merged(d, axes) for d in live[shared:]]
    dout = tangents.jvp(over(1, pure.call, shared), flat, dflat)[1]
    lead = jax.tree.leaves(args[-1])[0].shape[:axes]
    return jax.tree.map(lambda a: a.reshape(lead + a.shape[1:]), dout)


def _composed(project: Pure, recur: Pure) -> Pure:
    """recur . project: ``(params, carry, x) -> pre``."""

    def call(consts, params, carry, x):
        return recur.call(consts[1], params, carry, project.call(consts[0], params, x))

    params = jax.tree.map(operator.or_, project.reads[1], recur.reads[1])
    consts = (project.reads[0], recur.reads[0])
    reads = (consts, params, recur.reads[2], project.reads[2])
    return Pure(call, (project.consts, recur.consts), reads)


def _shift(carry: Any, after: Any, reverse: bool) -> tuple[Any, Any]:
    """The carry before each step, from the one that came in and those after each.

    And the last of those, which is the one that came in if there is no step.
    """

    def one(c, cs):
        return jnp.concatenate([cs, c[None]] if reverse else [c[None], cs])

    every = jax.tree.map(one, carry, after)
    before = jax.tree.map(lambda a: a[1:] if reverse else a[:-1], every)
    return before, jax.tree.map(lambda a: a[0 if reverse else -1], every)


# The loop's transposed matmul reads a kernel that is transposed once; for a single row
# that would be several times slower.


def _turned(w: Any) -> Any:
    """A matrix as a transposed copy, which the barrier keeps from being folded back."""
    return lax.optimization_barrier(w.T) if _is_matrix(w) else w


def _turned_back(w: Any) -> Any:
    return w.T if _is_matrix(w) else w


def _same(w: Any) -> Any:
    return w


def _is_matrix(w: Any) -> bool:
    # A constant may be a number of Python's, which has no dtype.
    return jnp.ndim(w) == 2 and jnp.issubdtype(w.dtype, jnp.inexact)

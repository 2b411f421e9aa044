"""The gated engine: every weight gradient deferred to one matmul after the loop.

A scan that is differentiated as it stands adds a rank-B update to each weight gradient
at every step. For a gated cell (see `jaxrnn.gated`) only the carry's own tangent has to
wait for time; what params, inputs and hyperparameters add to it at each step is one
batch over all steps. Written as one `jax.custom_jvp` whose tangent is linear, JAX's
transpose of that *is* the deferred gradient: a reverse loop with one matmul a step,
then one big matmul for each weight. jvp, Hessians, vmap and checkpoint work as if it
were the plain scan.

Measurements that shaped this file: forward and backward pass of LSTM and GRU, T=128 and
B=32 unless said, 2 cores, each against the same engine without that one thing
(`python -m benchmarks` measures all of them together).
  - Time and batch are flattened to rows before the batched jvp: 1.2-1.4 times faster.
  - `jax.checkpoint` around the tangent keeps carries and pre-activations only: 1.1-1.6
    times faster than keeping the residuals of the gates' derivative.
  - Inputs are projected inside the loop: up to 1.4 times faster than for all of time at
    once, whose result is newly allocated memory. A step of few rows reads the whole
    kernel for little work. There a few hundred rows are projected at a time: the forward
    pass is 1.15-1.3 times faster at D=H=256, and 1.5 at D=H=1024 with 16 rows.
  - The tangent runs in blocks of steps that fit in the cache. A block keeps only its
    inputs, which the forward loop has stacked anyway. LSTM: 1.06 times faster at H=128,
    1.13 at T=512 B=64, 1.3 at T=4096 B=8 H=64. On two devices at once, whose page faults
    wait for each other, the last two are 1.2 and 1.8. Each block adds to the weight
    gradients, so weights of over 3 MB lost up to 9%. Four blocks, whose data would have
    stayed in the cache anyway, lost 20%.
  - The loop's transposed matmul reads a kernel that is transposed once: 1.05-1.15 times
    faster at H=128, the same at H=512. For a single row it would be 4-15 times slower.
  - Not faster, or slower: gates packed in one array, barriers between the gates, weight
    gradients from inputs that are transposed beforehand, the batch in two loops.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.cell import Cell, Control, one_step, select
from jaxrnn.engine import scan, tangents
from jaxrnn.engine.hoist import Pure, hoist

# Inputs are projected inside the loop, one step at a time, or ahead of it, this many
# rows at a time.
AHEAD_ROWS = 512
# They are projected ahead if a step has fewer rows than FEW_ROWS, or if the kernels that
# `project` reads have at least LARGE_KERNEL bytes.
FEW_ROWS, LARGE_KERNEL = 8, 2**19
# The backward pass runs in blocks of steps. One block reads about BLOCK_BYTES.
BLOCK_BYTES = 3 * 2**19
# A sequence of fewer than BLOCKS blocks runs as a single one.
BLOCKS = 8


def unroll(cell: Cell, params: Any, carry: Any, xs: Any, control: Control):
    """``(carry, hs)`` of a gated cell; equal to `scan.unroll` in all but time."""
    project, recur, gates, update, output = cell.parts

    def affine(params, carry, x):
        return recur(params, carry, project(params, x))

    def active(params, carry, pre):
        return update(carry, gates(params, carry, pre))

    def step(params, carry, x):
        carry = active(params, carry, affine(params, carry, x))
        return carry, output(carry)

    steps = (xs, control.valid, scan.resets_before(control))
    carry = scan.settle(scan.controlled(step, params, control.fresh), carry, steps)
    rows = _row_axes(step, params, carry, steps)
    c, x = one_step(carry, rows), one_step(xs, 1 + rows)
    z = jax.eval_shape(project, params, x)
    pre = jax.eval_shape(recur, params, c, z)
    pures = (
        hoist(project, params, x),
        hoist(recur, params, c, z),
        hoist(active, params, c, pre),
        hoist(output, c),
    )
    if any(pure.calls_out for pure in pures):
        return _one_by_one(cell, params, carry, xs, control)
    consts = tuple(pure.consts for pure in pures)
    count = math.prod(jax.tree.leaves(xs)[0].shape[1:-1])

    def step_bytes():
        return _bytes((c, pre)) * math.prod(_leading(xs, 1 + rows)[1:])

    size = _block_size(step_bytes(), params)
    rule = _rule(*pures, rows, count, size, control.reverse)

    def run(carry, steps):
        return rule(consts, params, control.fresh, carry, steps)

    carry, hs = scan.in_chunks(run, carry, steps, control, step_bytes)
    return scan.last_reset(carry, control), hs


def _one_by_one(cell: Cell, params: Any, carry: Any, xs: Any, control: Control):
    """The plain scan, for a cell that calls Python while it runs.

    Callbacks then run once per step with the whole batch. In the batched derivative they
    would run once per row, and JAX does not batch ordered ones at all.
    """
    if control.engine == "gated":
        raise ValueError(
            f"engine: expected 'auto' or 'scan' for {cell!r}, whose functions have "
            "callbacks (jax.debug.print, io_callback and the like), got 'gated', which "
            "would run them once per row. Remove the callbacks, or use 'auto'."
        )
    return scan.unroll(cell, params, carry, xs, control)


def _rule(
    project: Pure,
    recur: Pure,
    active: Pure,
    shown: Pure,
    rows: int,
    count: Any,
    size: int,
    reverse: bool,
) -> Callable:
    """``(consts, params, fresh, carry, steps) -> (carry, hs)`` with the deferred rule.

    Args:
        project: ``(params, x) -> z`` of one row.
        recur: ``(params, carry, z) -> pre`` of one row.
        active: ``(params, carry, pre) -> carry`` of one row: update . gates.
        shown: ``(carry) -> h`` of one row: output.
        rows: how many axes behind time are rows, of which the four know nothing.
        count: how many rows a step has, about; may be symbolic.
        size: how many steps a block of the backward pass has; 0: no blocks.
        reverse: whether the scan runs from the last step to the first.
    """
    affine = _composed(project, recur)
    single = _known(count) and count == 1
    turn, turn_back = (_same, _same) if single else (_turned, _turned_back)

    def loop(consts, params, fresh, carry, steps, trace):
        read = jax.tree.map(lambda a, r: a if r else None, params, project.reads[1])
        worth = _known(count) and (count < FEW_ROWS or _bytes(read) >= LARGE_KERNEL)
        ahead = AHEAD_ROWS // count if worth else 1

        def body(carry, inputs):
            z, valid, reset = inputs
            entered = carry if reset is None else select(reset, fresh, carry)
            if ahead <= 1:
                z = _over(rows, project.call, 2)(consts[0], params, z)
            pre = _over(rows, recur.call, 2)(consts[1], params, entered, z)
            new = _over(rows, active.call, 2)(consts[2], params, entered, pre)
            left = select(valid, new, entered)
            if trace:
                return left, (left, pre)
            return left, select(valid, _over(rows, shown.call, 1)(consts[3], new), 0)

        def block(carry, steps):
            xs, valid, resets = steps
            if ahead > 1:
                xs = _over(1 + rows, project.call, 2)(consts[0], params, xs)
            return lax.scan(body, carry, (xs, valid, resets), reverse=reverse)

        if ahead > 1:
            return scan.in_blocks(block, carry, steps, ahead, reverse, least=2)
        return block(carry, steps)

    @jax.custom_jvp
    def run(consts, params, fresh, carry, steps):
        return loop(consts, params, fresh, carry, steps, trace=False)

    def rule(primals, dots):
        consts, params, fresh, carry, (xs, valid, resets) = primals
        dconsts, dparams, dfresh, dcarry, (dxs, _, _) = tangents.given(primals, dots)
        # The carry after each step and the pre-activations determine everything else.
        last, (after, pre) = loop(*primals, trace=True)
        hs = select(valid, _over(1 + rows, shown.call, 1)(consts[3], after), 0)
        turned = jax.tree.map(turn, (consts[:2], params))

        @functools.partial(jax.checkpoint, prevent_cse=False)  # keeps its inputs alone
        def block(carries, steps):
            (carry, dcarry), (after, pre, xs, dxs, valid, resets) = carries, steps
            before, left = _shift(carry, after, reverse)
            if resets is not None:
                before = select(resets, fresh, before)

            # What weights, inputs and hyperparameters add: one batch, no loop.
            n, held = 1 + rows, tangents.none((before, pre))
            args = (consts[:2], params, before, xs)
            dpre = _added(affine, 2, n, args, (dconsts[:2], dparams, held[0], dxs))
            args = (consts[2], params, before, pre)
            dnew = _added(active, 2, n, args, (dconsts[2], dparams, *held))
            dhs = _added(shown, 1, n, (consts[3], after), (dconsts[3], held[0]))

            # What must wait: the carry's own tangent, linear in itself and the above.
            @jax.checkpoint
            def tangent(dcarry, inputs):
                c, a, x, valid, reset, dpre, dnew, dh = inputs
                dc = dcarry
                if reset is not None:
                    dc = tangents.choose(c, reset, dfresh, dcarry)
                k, p = jax.tree.map(turn_back, turned)
                pre, da = tangents.jvp(
                    lambda c: _over(rows, affine.call, 2)(k, p, c, x), (c,), (dc,)
                )
                da = tangents.add(pre, da, dpre)
                step = lambda c, a: _over(rows, active.call, 2)(consts[2], params, c, a)
                new, dn = tangents.jvp(step, (c, a), (dc, da))
                dn = tangents.add(new, dn, dnew)
                h, ds = tangents.jvp(
                    lambda c: _over(rows, shown.call, 1)(consts[3], c), (new,), (dn,)
                )
                ds = tangents.add(h, ds, dh)
                return tangents.choose(new, valid, dn, dc), tangents.choose(
                    h, valid, ds, tangents.none(h)
                )

            inputs = (before, pre, xs, valid, resets, dpre, dnew, dhs)
            dcarry, dhs = lax.scan(tangent, dcarry, inputs, reverse=reverse)
            return (left, dcarry), dhs

        carries = carry, jax.tree.map(tangents.dense, carry, dcarry)
        steps = (after, pre, xs, dxs, valid, resets)
        (_, dlast), dhs = scan.in_blocks(
            block, carries, steps, size, reverse, least=BLOCKS
        )
        return (last, hs), jax.tree.map(tangents.for_jax, (last, hs), (dlast, dhs))

    run.defjvp(rule, symbolic_zeros=True)
    return run


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
    flat += [_to_rows(a, axes) for a in args[shared:]]
    dflat += [_to_rows(d, axes) for d in live[shared:]]
    dout = tangents.jvp(_over(1, pure.call, shared), flat, dflat)[1]
    lead = jax.tree.leaves(args[-1])[0].shape[:axes]
    return jax.tree.map(lambda a: a.reshape(lead + a.shape[1:]), dout)


def _block_size(stored: Any, params: Any) -> int:
    """How many steps a block of the backward pass has; 0: no blocks.

    Args:
        stored: bytes that a step stores for it; may be symbolic.
        params: each block adds to their gradients.
    """
    few = _known(stored) and _bytes(params) <= 2 * BLOCK_BYTES
    return BLOCK_BYTES // stored if few else 0


def _known(size: Any) -> bool:
    """Whether it is a positive number; under export a size may be symbolic."""
    return isinstance(size, int) and size > 0


def _bytes(tree: Any) -> int:
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))


def _composed(project: Pure, recur: Pure) -> Pure:
    """recur . project: ``(params, carry, x) -> pre``."""

    def call(consts, params, carry, x):
        return recur.call(consts[1], params, carry, project.call(consts[0], params, x))

    params = jax.tree.map(operator.or_, project.reads[1], recur.reads[1])
    reads = (
        (project.reads[0], recur.reads[0]),
        params,
        recur.reads[2],
        project.reads[2],
    )
    return Pure(call, (project.consts, recur.consts), reads)


def _row_axes(step: Callable, params: Any, carry: Any, steps: tuple) -> int:
    """How many axes behind time are rows, all treated alike by `step`.

    All batch axes, as a rule: one matmul over all rows of all steps is what makes the
    engine fast. None where that cannot be: a cell of images, a cell that closes over a
    value of the batch's shape, axes that an explicit mesh shards and nothing may merge.
    """
    xs, valid, resets = steps
    leaves = jax.tree.leaves(xs)
    masks = [m for m in (valid, resets) if m is not None]
    axes = masks[0].ndim - 1 if masks else leaves[0].ndim - 2 if len(leaves) == 1 else 0
    if axes <= 0 or any(
        any(jax.typeof(a).sharding.spec) for a in jax.tree.leaves((carry, xs))
    ):
        return 0
    x = one_step(xs)
    try:
        whole = jax.eval_shape(step, params, carry, x)
        row = jax.eval_shape(step, params, one_step(carry, axes), one_step(x, axes))
    except (TypeError, ValueError, IndexError):  # the step cannot take one row
        return 0
    shapes = lambda tree: [a.shape for a in jax.tree.leaves(tree)]
    return axes if shapes(one_step(whole, axes)) == shapes(row) else 0


def _over(axes: int, f: Callable, shared: int) -> Callable:
    """`f` over that many leading axes of all but its first `shared` arguments."""
    for _ in range(axes):
        f = lambda *args, f=f: jax.vmap(
            f, (None,) * shared + (0,) * (len(args) - shared)
        )(*args)
    return f


def _leading(xs: Any, n: int) -> tuple:
    return jax.tree.leaves(xs)[0].shape[:n]


def _to_rows(tree: Any, n: int) -> Any:
    """The first `n` axes merged to one."""
    return jax.tree.map(lambda a: a.reshape(math.prod(a.shape[:n]), *a.shape[n:]), tree)


def _shift(carry: Any, after: Any, reverse: bool) -> tuple[Any, Any]:
    """The carry before each step, from the one that came in and those after each.

    And the last of those, which is the one that came in if there is no step.
    """

    def one(c, cs):
        return jnp.concatenate([cs, c[None]] if reverse else [c[None], cs])

    every = jax.tree.map(one, carry, after)
    before = jax.tree.map(lambda a: a[1:] if reverse else a[:-1], every)
    return before, jax.tree.map(lambda a: a[0 if reverse else -1], every)


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

"""The plain scan of ``step``, and what all engines share: resets, masks, chunks."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn._tree import check_like, one_step, retype, select
from jaxrnn.cell import Cell, Control
from jaxrnn.engine.interface import Engine

# remat="auto" stores all that fits in this, and about sqrt(T) carries beyond.
AUTO_REMAT_BYTES = 256 * 2**20


def unroll(cell: Cell, params: Any, carry: Any, xs: Any, control: Control):
    """``(carry, hs)`` by `lax.scan` of ``cell.step``: the meaning of every cell."""
    body = controlled(cell.step, params, control.fresh)

    def run(carry, steps):
        return lax.scan(body, carry, steps, reverse=control.reverse)

    steps = (xs, control.valid, resets_before(control))
    carry = settle(body, carry, steps)
    carry, hs = in_chunks(
        run, carry, steps, control, lambda: _step_bytes(body, carry, steps)
    )
    return last_reset(carry, control), hs


ENGINE = Engine("scan", lambda cell, control: None, unroll)


def controlled(step: Callable, params: Any, fresh: Any) -> Callable:
    """``(carry, (x, valid, reset)) -> (carry, h)``: what one step of `unroll` means."""

    def body(carry, inputs):
        x, valid, reset = inputs
        entered = carry if reset is None else select(reset, fresh, carry)
        new, h = step(params, entered, x)
        return select(valid, new, entered), select(valid, h, 0)

    return body


def resets_before(control: Control):
    """Resets that act before their step in the order of the scan, bool [T, *batch].

    Forwards they do so already. Under ``reverse`` a reset acts after its step, which is
    before the step that runs next, t-1; the one at step 0 is left to `last_reset`.
    """
    resets = control.resets
    if resets is None or not control.reverse:
        return resets
    return jnp.concatenate([resets, jnp.zeros_like(resets[:1])])[1:]


def last_reset(carry: Any, control: Control) -> Any:
    """The final carry, after the reset at step 0 when time runs backwards."""
    if control.resets is None or not control.reverse or _is(control.resets.shape[0], 0):
        return carry
    return select(control.resets[0], control.fresh, carry)


def settle(body: Callable, carry: Any, steps: Any) -> Any:
    """`carry` varying over every mesh axis over which `body` makes it vary.

    Raises ValueError if `body` changes the carry's structure, shape or dtype.
    """
    for _ in range(3):  # carry leaves that feed each other settle one after the other
        new, _ = jax.eval_shape(body, carry, one_step(steps))
        remedy = "A step must return a carry of the type that it was given."
        check_like("the carry that step returns", new, carry, remedy)
        carry = retype(carry, new)
    return carry


def in_chunks(
    run: Callable, carry: Any, steps: Any, control: Control, step_bytes: Callable
) -> tuple[Any, Any]:
    """``run(carry, steps)``, storing the carry at every ``control.remat``-th step only.

    Args:
        run: ``(carry, steps) -> (carry, hs)`` over any number of steps.
        carry: the carry that comes in.
        steps: what each step reads, a tree of [T, ...].
        control: its ``remat`` and ``reverse`` are read.
        step_bytes: ``() -> int``, what one step would store.
    """
    length = jax.tree.leaves(steps)[0].shape[0]
    size: Any = control.remat
    if not isinstance(length, int):  # symbolic, under export: no number of chunks
        return run(carry, steps)
    if size == "auto":
        stored = step_bytes() * length  # symbolic where the batch is
        large = isinstance(stored, int) and stored > AUTO_REMAT_BYTES
        size = math.isqrt(length) if large else None
    if size is None or length == 0:
        return run(carry, steps)
    split = length - length % size
    whole = jax.tree.map(lambda a: a[:split], steps)
    tail = jax.tree.map(lambda a: a[split:], steps)
    # inside a scan XLA cannot undo the recomputation, outside of one it would
    inner, outer = jax.checkpoint(run, prevent_cse=False), jax.checkpoint(run)

    def all_whole(carry):
        return in_blocks(inner, carry, whole, size, control.reverse)

    if split == length:
        return all_whole(carry)
    if control.reverse:
        carry, last = outer(carry, tail)
        carry, first = all_whole(carry)
    else:
        carry, first = all_whole(carry)
        carry, last = outer(carry, tail)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, last)


def in_blocks(
    run: Callable, carry: Any, steps: Any, size: int, reverse: bool, least: int = 1
) -> tuple[Any, Any]:
    """``run(carry, steps)``, about `size` steps at a time; all at once if there are few.

    The block size divides T, so no remainder is compiled: it is the divisor of T that is
    nearest to `size`. If none is between half of `size` and twice of it, all steps are
    one block.

    Args:
        run: ``(carry, steps) -> (carry, outputs)`` over any number of steps.
        carry: the carry that comes in.
        steps: what each step reads, a tree of [T, ...]; outputs are such a tree too.
        size: of a block, in steps; 0: no blocks.
        reverse: whether the last block runs first.
        least: fewer blocks than this are none.
    """
    length = jax.tree.leaves(steps)[0].shape[0]
    if not isinstance(length, int) or not 0 < least * size <= length:
        return run(carry, steps)
    near = [k for k in range(-(-size // 2), 2 * size + 1) if length % k == 0]
    if not near:
        return run(carry, steps)
    best = min(near, key=lambda k: abs(math.log(k / size)))
    cut = lambda a: a.reshape(length // best, best, *a.shape[1:])
    carry, outputs = lax.scan(run, carry, jax.tree.map(cut, steps), reverse=reverse)
    return carry, jax.tree.map(lambda a: a.reshape(length, *a.shape[2:]), outputs)


def _step_bytes(body, carry, steps):
    """Bytes of everything that one step computes: a bound on what it stores."""
    eqns = jax.make_jaxpr(body)(carry, one_step(steps)).jaxpr.eqns
    return sum(v.aval.size * v.aval.dtype.itemsize for e in eqns for v in e.outvars)


def _is(size: Any, number: int) -> bool:
    """Whether a size is this number; a symbolic one is no number."""
    return isinstance(size, int) and size == number

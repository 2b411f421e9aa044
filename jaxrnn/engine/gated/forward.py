"""The loop over time of the gated engine."""

from typing import Any, NamedTuple

from jax import lax

from jaxrnn._tree import select
from jaxrnn.engine import scan
from jaxrnn.engine.gated.rows import over
from jaxrnn.engine.hoist import Pure


class Equations(NamedTuple):
    """A gated cell's equations for one row, without closures.

    Fields:
        project: ``(params, x) -> z``.
        recur: ``(params, carry, z) -> pre``.
        active: ``(params, carry, pre) -> carry``: update . gates.
        shown: ``(params, carry) -> h``: output.
    """

    project: Pure
    recur: Pure
    active: Pure
    shown: Pure


class Loop(NamedTuple):
    """How the loop runs.

    Fields:
        rows: how many axes behind time are rows, of which the equations know nothing.
        single: whether a step has a single row.
        reverse: whether time runs from the last step to the first.
        ahead: how many steps' inputs are projected at a time; 1: each in its own step.
        block: how many steps a block of the backward pass has; 0: no blocks.
        least_blocks: fewer blocks than this are none.
    """

    rows: int
    single: bool
    reverse: bool
    ahead: int
    block: int
    least_blocks: int


def forward(
    equations: Equations,
    loop: Loop,
    consts: tuple,
    params: Any,
    fresh: Any,
    carry: Any,
    steps: tuple,
    trace: bool = False,
) -> tuple[Any, Any]:
    """``(carry, hs)``; with `trace` the carry and pre-activations of each step for hs.

    Args:
        equations, loop: see there.
        consts: what each equation closed over.
        params, fresh, carry: see `jaxrnn.Cell.unroll`.
        steps: xs, valid and resets: what each step reads.
    """
    project, recur, active, shown = equations
    rows, ahead = loop.rows, loop.ahead

    def body(carry, inputs):
        z, valid, reset = inputs
        entered = carry if reset is None else select(reset, fresh, carry)
        if ahead == 1:
            z = over(rows, project.call, 2)(consts[0], params, z)
        pre = over(rows, recur.call, 2)(consts[1], params, entered, z)
        new = over(rows, active.call, 2)(consts[2], params, entered, pre)
        left = select(valid, new, entered)
        if trace:
            return left, (left, pre)
        h = over(rows, shown.call, 2)(consts[3], params, new)
        return left, select(valid, h, 0)

    def block(carry, steps):
        xs, valid, resets = steps
        if ahead > 1:
            xs = over(1 + rows, project.call, 2)(consts[0], params, xs)
        return lax.scan(body, carry, (xs, valid, resets), reverse=loop.reverse)

    if ahead > 1:
        return scan.in_blocks(block, carry, steps, ahead, loop.reverse, least=2)
    return block(carry, steps)

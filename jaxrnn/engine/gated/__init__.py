"""The gated engine: every weight gradient is one matmul after the loop.

A step of a gated cell, with carry c, pre-activations a and params θ, is

    a_t = affine(θ, c_{t-1}, x_t)      recur . project
    c_t = active(θ, c_{t-1}, a_t)      update . gates
    h_t = shown(θ, c_t)                output

The tangent of each is linear. It is the sum of what the carry's tangent δc brings, which
must wait for time, and of what params and inputs add, which need not:

    δa_t = A_t δc_{t-1} + (∂affine/∂θ δθ + ∂affine/∂x δx_t)
    δc_t = P_t δc_{t-1} + Q_t δa_t + ∂active/∂θ δθ
    δh_t = S_t δc_t + ∂shown/∂θ δθ

What params and inputs add is one batch over all steps and rows, computed outside of the
loop: for a kernel W it is X δW, with a row of X for each step and row of the batch. JAX
transposes this linear tangent to the gradient. The transpose of X δW is Xᵀ ā: one matmul,
which sums over all steps and rows after the reverse loop. In the loop only the
transposes of A, P, Q and S remain, for the carry's cotangent. The plain scan adds a
product of one step's rows to each weight gradient at every step instead.

The rule is one `jax.custom_jvp`, so that jvp, Hessians, vmap and checkpoint work as if it
were the plain scan. The files: `forward` has the loop, `tangent` its derivative, `rows`
what turns functions of one row to functions of many, `plan` the numbers that were
measured. docs/engine.md tells what was tried.
"""

import functools
import math
from typing import Any

import jax

from jaxrnn._tree import one_step
from jaxrnn.cell import Cell, Control
from jaxrnn.engine import scan
from jaxrnn.engine.gated.forward import Equations, Loop
from jaxrnn.engine.gated.plan import PLANS, Plan, size_in_bytes
from jaxrnn.engine.gated.rows import row_axes
from jaxrnn.engine.gated.tangent import differentiable
from jaxrnn.engine.hoist import hoist
from jaxrnn.engine.interface import Declined, Engine
from jaxrnn.gated import Gated, step_of

__all__ = ["ENGINE", "PLANS", "Plan", "engine"]


def engine(plan: Plan | None = None) -> Engine:
    """The gated engine with this plan; None: that of the platform."""
    return Engine("gated", supports, functools.partial(unroll, plan=plan))


def supports(cell: Cell, control: Control) -> str | None:
    if isinstance(cell.parts, Gated):
        return None
    return (
        "Only cells made by jaxrnn.gated, and compositions of them, run on the gated "
        "engine."
    )


def unroll(
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    control: Control,
    plan: Plan | None = None,
) -> tuple[Any, Any]:
    """``(carry, hs)`` of a gated cell; equal to `scan.unroll` in all but time."""
    parts: Any = cell.parts
    plan = plan or PLANS.get(jax.default_backend(), PLANS["cpu"])
    steps = (xs, control.valid, scan.resets_before(control))
    body = scan.controlled(step_of(parts), params, control.fresh)
    carry = scan.settle(body, carry, steps)
    rows = row_axes(step_of(parts), params, carry, xs, control.batch_ndim)
    equations, stored = _hoisted(parts, params, carry, xs, rows)
    if any(equation.calls_out for equation in equations):
        raise Declined(
            "Its functions have callbacks (jax.debug.print, io_callback and the like), "
            "which the gated engine would run once per row. Remove the callbacks, or "
            "use 'auto'."
        )

    shape, batch = jax.tree.leaves(xs)[0].shape, control.batch_ndim
    count = None if batch is None else math.prod(shape[1 : 1 + batch])
    step_bytes = lambda: stored * math.prod(shape[1 : 1 + rows])
    read = jax.tree.map(
        lambda a, r: a if r else None, params, equations.project.reads[1]
    )
    loop = Loop(
        rows=rows,
        single=count == 1,
        reverse=control.reverse,
        ahead=plan.steps_ahead(count, size_in_bytes(read)),
        block=plan.block_size(
            step_bytes(),
            size_in_bytes(params),
            any(equation.convolves for equation in equations),
        ),
        least_blocks=plan.least_blocks,
    )
    rule = differentiable(equations, loop)
    consts = tuple(equation.consts for equation in equations)

    def run(carry, steps):
        return rule(consts, params, control.fresh, carry, steps)

    carry, hs = scan.in_chunks(run, carry, steps, control, step_bytes)
    return scan.last_reset(carry, control), hs


ENGINE = engine()


def _hoisted(parts, params, carry, xs, rows: int) -> tuple[Equations, Any]:
    """The equations of one row, and how many bytes of it a step stores."""
    c, x = one_step(carry, rows), one_step(xs, 1 + rows)
    z = jax.eval_shape(parts.project, params, x)
    pre = jax.eval_shape(parts.recur, params, c, z)

    def active(params, carry, pre):
        return parts.update(params, carry, parts.gates(params, carry, pre))

    equations = Equations(
        project=hoist(parts.project, params, x),
        recur=hoist(parts.recur, params, c, z),
        active=hoist(active, params, c, pre),
        shown=hoist(parts.output, params, c),
    )
    return equations, size_in_bytes((c, pre))

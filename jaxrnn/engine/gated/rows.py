"""Functions of one row, over all rows of a batch and all steps."""

import math
from collections.abc import Callable
from typing import Any

import jax

from jaxrnn._tree import one_step


def row_axes(
    step: Callable, params: Any, carry: Any, xs: Any, batch_ndim: int | None
) -> int:
    """How many axes behind time are rows, of which the equations need not know.

    All batch axes, as a rule: one matmul over all rows of all steps is what makes the
    engine fast. None where the rows of a batch are not apart, as `jaxrnn.Gated` says,
    and where an explicit mesh shards an axis, which nothing may merge.
    """
    sharded = lambda a: any(jax.typeof(a).sharding.spec)
    if not batch_ndim or any(map(sharded, jax.tree.leaves((carry, xs)))):
        return 0
    try:
        whole = jax.eval_shape(step, params, carry, one_step(xs))
        of_row = one_step(carry, batch_ndim), one_step(xs, 1 + batch_ndim)
        row = jax.eval_shape(step, params, *of_row)
    except (TypeError, ValueError, IndexError):  # the step cannot take one row
        return 0
    shapes = lambda tree: [a.shape for a in jax.tree.leaves(tree)]
    return batch_ndim if shapes(one_step(whole, batch_ndim)) == shapes(row) else 0


def over(axes: int, f: Callable, shared: int) -> Callable:
    """`f` over that many leading axes of all but its first `shared` arguments."""
    for _ in range(axes):
        f = lambda *args, f=f: jax.vmap(
            f, (None,) * shared + (0,) * (len(args) - shared)
        )(*args)
    return f


def merged(tree: Any, n: int) -> Any:
    """The first `n` axes of each array merged to one."""
    return jax.tree.map(lambda a: a.reshape(math.prod(a.shape[:n]), *a.shape[n:]), tree)

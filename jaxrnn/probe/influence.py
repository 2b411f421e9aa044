"""What outputs depend on: inputs of long ago, and single units of the memory."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import engine
from jaxrnn._tree import select
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated
from jaxrnn.probe.through import (
    check_cell,
    fed,
    is_float,
    norm,
    opened,
    stepping,
    through,
)
from jaxrnn.unroll import unroll


def memory_span(
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    others: Any,
    *,
    lags: Sequence[int] | None = None,
) -> jax.Array:
    """How far the last output moves if one input, `lag` steps before, had been another.

    What `gradient_flow` is for small changes and for learning, this is for whole inputs and
    for holding: a change that is forgotten moves nothing.

    Args:
        cell: any `Cell` that runs in one direction.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``.
        others: of the same type: what could have stood there instead.
        lags: L lags from 0, the last step's input, to T - 1; None: all.

    Returns:
        ``[L, *batch]``: ``‖h_T' - h_T‖``. All lags run side by side and nothing is kept
        over time, at the price of L unrolls.

    Raises:
        ValueError: for lags out of range, `others` of another type, and whatever
            `jaxrnn.unroll` refuses.

    Example:
        A forget gate that is shut leaves no trace after a few steps:

        >>> import jax, jaxrnn
        >>> from jaxrnn import probe
        >>> cell = jaxrnn.lstm(4, forget_bias=-3.0)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs, others = jax.random.normal(jax.random.key(1), (2, 20, 2, 3))
        >>> span = probe.memory_span(cell, params, None, xs, others, lags=(0, 10))
        >>> span.shape, bool((span[1] < 1e-5 * span[0]).all())
        ((2, 2), True)
    """
    check_cell(cell)
    hs = jax.eval_shape(lambda: unroll(cell, params, carry, xs))[1]
    types = lambda tree: jax.tree.map(lambda a: (a.shape, str(a.dtype)), tree)
    if types(xs) != types(others):
        raise ValueError(
            f"others: expected the type of xs, {types(xs)}, got {types(others)}."
        )
    if any(jnp.issubdtype(h.dtype, jax.dtypes.extended) for h in jax.tree.leaves(hs)):
        raise ValueError(
            f"cell: memory_span expects outputs that are numbers, got "
            f"{[str(h.dtype) for h in jax.tree.leaves(hs)]} of {cell!r}. Keys cannot be "
            "told apart by a distance."
        )
    length = len(jax.tree.leaves(xs)[0])
    lags = range(length) if lags is None else lags
    if not len(lags) or min(lags) < 0 or max(lags) >= length:
        raise ValueError(f"lags: expected some of 0 to {length - 1}, got {list(lags)}.")
    if carry is None:
        carry = cell.initial_carry(params, jax.tree.map(lambda a: a[0], xs))

    # The last of the runs has none of its inputs changed.
    changed = jnp.array([length - 1 - lag for lag in lags] + [length])

    def step(state, now):
        t, x, other = now

        def one(carry, at):
            return cell.step(params, carry, select(t == at, other, x))

        return jax.vmap(one)(state[0], changed), None

    spread = lambda a: jnp.broadcast_to(a, (len(changed), *a.shape))
    shown = jax.tree.map(lambda h: jnp.zeros(h.shape[1:], h.dtype), hs)
    start = jax.tree.map(spread, (carry, shown))
    (_, h), _ = jax.lax.scan(step, start, (jnp.arange(length), xs, others))
    return jax.tree.map(lambda h: norm(h[:-1] - h[-1:]), h)


def ablation(
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    score: Callable,
    *,
    lengths: Any = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: Any = None,
) -> Any:
    """The score with each unit silenced in turn: which ones does the task hang on?

    A silenced unit's memory (every leaf of the carry, an LSTM's h and c) is zero before,
    during and after every step, as in Lakretz et al. 2019, arXiv:1903.07435. Of a cell that
    is not gated its output is as the cell makes it of such a carry.

    Args:
        cell: any `Cell` whose leaves of one cell's carry all have H units.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``.
        score: ``(carry, hs) -> value``, such as an accuracy, of what `jaxrnn.unroll`
            returns; an array or a tree of them.
        lengths, mask, resets, reverse, key: see `jaxrnn.unroll`.

    Returns:
        The scores ``[H, ...]``. For a composition a tree like its carry, with each cell's
        scores in place of that cell's carry: for a stack a tuple with one entry a layer.
        The units run one after the other, so memory does not grow with their number.

    Raises:
        ValueError: for a carry with leaves of several widths, and whatever
            `jaxrnn.unroll` refuses.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import probe
        >>> cell = jaxrnn.stack(jaxrnn.lstm(4), jaxrnn.gru(5))
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> score = lambda carry, hs: (hs[-1] ** 2).mean()
        >>> first, second = probe.ablation(cell, params, None, xs, score)
        >>> first.shape, second.shape
        ((4,), (5,))
    """
    check_cell(cell)
    options = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse}
    options["key"] = key

    def measure(cell, params, carry, xs, control):
        floats = [c for c in jax.tree.leaves(carry) if is_float(c)]
        widths = {c.shape[-1] if c.ndim else 1 for c in floats}
        if len(widths) != 1:
            raise ValueError(
                f"cell: ablation expects floats of one width in a cell's carry, got "
                f"{sorted(widths)}: it would not know which of them are one unit."
            )
        _, hs = engine.run(cell, params, carry, xs, control)
        return jnp.ones(widths.pop(), bool), hs

    units = lambda: through(measure, cell, params, carry, xs, **options)[0]
    shapes, structure = jax.tree.flatten(jax.eval_shape(units))
    all_on = [jnp.ones(shape.shape, bool) for shape in shapes]

    def silence(cell, params, carry, xs, control):
        carry, keep = fed(carry)
        silenced = stepping(cell, _silent(cell, keep))
        return engine.run(silenced, params, carry, xs, control)

    def without(n, unit):
        keep = structure.unflatten([*all_on[:n], ~unit, *all_on[n + 1 :]])
        return score(*through(silence, cell, params, carry, xs, feed=keep, **options))

    scores = [
        jax.lax.map(partial(without, n), jnp.eye(len(on), dtype=bool))
        for n, on in enumerate(all_on)
    ]
    return jax.tree.unflatten(structure, scores)


def _silent(cell: Cell, keep: Any) -> Callable:
    """The cell's step with memory only in the units of `keep`, a tree like the carry."""
    quiet = lambda carry: jax.tree.map(
        lambda c, k: jnp.where(k, c, 0) if is_float(c) else c, carry, keep
    )

    def step(params, carry, x):
        if not isinstance(cell.parts, Gated):
            carry, h = cell.step(params, quiet(carry), x)
            return quiet(carry), h
        carry = quiet(opened(cell, params, quiet(carry), x)[1])
        return carry, cell.parts.output(params, carry)

    return step

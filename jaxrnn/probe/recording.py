"""What goes on inside a cell over time: its gates, and the gradients that reach back."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import engine
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


def gates(
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    key: Any = None,
) -> Any:
    """Every named gate at every step, as `jaxrnn.unroll` would meet it.

    Args:
        cell: a gated cell, or a composition of such.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``.
        lengths, mask, resets, reverse, key: see `jaxrnn.unroll`. Under a
            key the gates are as the cell opens them, before noise acts on them.

    Returns:
        The cell's gates, such as `jaxrnn.cells.LSTMGates`, each ``[T, *batch, H]`` and
        zero at steps that are not valid. For a composition a tree like its carry, with
        each cell's gates in place of that cell's carry: for a stack a tuple with one
        entry a layer, for a bidirectional cell a `jaxrnn.BidirectionalCarry`.

    Raises:
        ValueError: for a cell without gates, and whatever `jaxrnn.unroll` refuses.

    Example:
        >>> import jax, jaxrnn
        >>> from jaxrnn import probe
        >>> cell = jaxrnn.lstm(4, forget_bias=3.0)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> i, f, g, o = probe.gates(cell, params, None, xs)
        >>> f.shape, bool(f.mean() > 0.8)
        ((6, 2, 4), True)
    """
    check_cell(cell)

    def watch(cell, params, carry, xs, control):
        if not isinstance(cell.parts, Gated):
            raise ValueError(
                f"cell: expected one made by jaxrnn.gated, or a composition of such, "
                f"got {cell!r}, which has no named gates. Build it with jaxrnn.gated."
            )

        def step(params, carry, x):
            now, carry = opened(cell, params, carry, x)
            return carry, (cell.parts.output(params, carry), now)

        watched = stepping(cell, step)
        _, (hs, seen) = engine.run(watched, params, carry, xs, control)
        return seen, hs

    options = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse}
    options["key"] = key
    return through(watch, cell, params, carry, xs, **options)[0]


def gradient_flow(
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    loss: Callable,
    *,
    lengths: Any = None,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    remat: int | str | None = None,
    key: Any = None,
) -> Any:
    """The gradient norm with respect to the carry after each step: ``‖dL/dcarry_t‖``.

    The total derivative, in one backward pass: what nudging the carry that step t leaves
    behind changes in L, through all later steps and, for gated cells and compositions of
    them, through the output h_t that shows it. Each leaf is nudged by itself: an LSTM's
    dL/dc_t leaves h_t as it was, so it is 0 at the last step if L reads only h.
    Of a cell that is not gated no one knows how h_t depends on its carry; there the nudge
    acts from the next step on.

    Far back these are small: run it in float64 (``jax.enable_x64(True)``, with params and
    inputs of that dtype), for float32 flushes to zero below 1e-38.

    Args:
        cell: any `Cell`.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``.
        loss: ``(carry, hs) -> L``, a scalar, of what `jaxrnn.unroll` returns. Summed over
            the batch, each row's norm is that of its own loss.
        lengths, mask, resets, reverse, remat, key: see `jaxrnn.unroll`. With `remat` no
            gates are kept over time, only carries and their gradients.

    Returns:
        A tree like the carry with the norms ``[T, *batch]``: over a leaf's last axis. Entry
        t belongs to the carry after ``xs[t]`` was read; zero at steps that are not valid.

    Raises:
        ValueError: for a loss that is no scalar, and whatever `jaxrnn.unroll` refuses.

    Example:
        A forget gate that is shut lets next to nothing back:

        >>> import jax, jaxrnn
        >>> from jaxrnn import probe
        >>> cell = jaxrnn.lstm(4, forget_bias=-3.0)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (20, 2, 3))
        >>> loss = lambda carry, hs: hs[-1].sum()
        >>> flow = probe.gradient_flow(cell, params, None, xs, loss)
        >>> flow.c.shape, bool((flow.c[0] < 1e-6 * flow.c[-2]).all())
        ((20, 2), True)
    """
    check_cell(cell)
    options = {"lengths": lengths, "mask": mask, "resets": resets, "reverse": reverse}
    options |= {"remat": remat, "key": key}

    def push(cell, params, carry, xs, control):
        carry, nudges = fed(carry)

        def step(params, carry, inputs):
            x, nudge = inputs
            if not isinstance(cell.parts, Gated):
                carry, h = cell.step(params, carry, x)
                return _nudged(carry, nudge), h
            carry = _nudged(opened(cell, params, carry, x)[1], nudge)
            return carry, cell.parts.output(params, carry)

        return engine.run(stepping(cell, step), params, carry, (xs, nudges), control)

    def nudged_loss(nudges):
        value = loss(*through(push, cell, params, carry, xs, feed=nudges, **options))
        if jnp.shape(value) != ():
            raise ValueError(
                f"loss: expected a scalar, got {list(jnp.shape(value))}. Take its sum."
            )
        return value

    last = jax.eval_shape(lambda: unroll(cell, params, carry, xs, **options)[0])
    length = len(jax.tree.leaves(xs)[0])
    return jax.tree.map(norm, jax.grad(nudged_loss)(_zeros(last, length)))


def _zeros(carry: Any, length: int) -> Any:
    """A nudge of nothing for each step and carry leaf; floats for integers and keys too."""

    def one(c):
        return jnp.zeros((length, *c.shape), c.dtype if is_float(c) else None)

    return jax.tree.map(one, carry)


def _nudged(carry: Any, nudge: Any) -> Any:
    """`carry` plus `nudge`, but for leaves that have no gradient."""
    return jax.tree.map(lambda c, n: c + n if is_float(c) else c, carry, nudge)

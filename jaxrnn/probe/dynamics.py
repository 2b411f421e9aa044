"""How a trajectory stretches small changes of the carry, and how long units hold on."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import engine
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated
from jaxrnn.probe.elementwise import elementwise
from jaxrnn.probe.through import check_cell, is_float, opened, stepping, through
from jaxrnn.unroll import unroll


def jacobian_spectrum(cell: Cell, params: Any, carry: Any, xs: Any) -> jax.Array:
    """Singular values of each step's Jacobian, ``dcarry_t / dcarry_{t-1}``.

    How much the step at most and at least stretches a small change of the carry, all of
    its leaves together (h and c of an LSTM, all layers of a stack). Values below 1
    everywhere mean that what came before is forgotten (Pascanu, Mikolov and Bengio 2013,
    arXiv:1211.5063).

    Args:
        cell: any `Cell` that runs in one direction.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``.

    Returns:
        ``[T, *batch, D]``, the largest first; D is the size of one row's carry. No more
        than one step's matrices ``[*batch, D, D]`` are held at a time.

    Raises:
        ValueError: for a carry without floating-point leaves, and whatever
            `jaxrnn.unroll` refuses.

    Example:
        A step that halves its carry halves every change of it:

        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> from jaxrnn import probe
        >>> def step(params, carry, x):
        ...     carry = 0.5 * carry + x
        ...     return carry, carry
        >>> leaky = jaxrnn.Cell(
        ...     lambda key, features: (), lambda params, x: jnp.zeros_like(x), step
        ... )
        >>> probe.jacobian_spectrum(leaky, (), None, jnp.ones((2, 1, 3))).tolist()
        [[[0.5, 0.5, 0.5]], [[0.5, 0.5, 0.5]]]
    """
    carry = _started(cell, params, carry, xs)

    def step(carry, x):
        flat, push = _pushing(cell, params, carry, x)
        basis = jnp.eye(flat.shape[-1], dtype=flat.dtype)
        columns = jax.vmap(lambda e: push(jnp.broadcast_to(e, flat.shape)), 0, -1)(
            basis
        )
        values = jnp.linalg.svd(columns, compute_uv=False)
        return cell.step(params, carry, x)[0], values

    return jax.lax.scan(step, carry, xs)[1]


def lyapunov(
    cell: Cell, params: Any, carry: Any, xs: Any, *, count: int = 1, warmup: int = 0
) -> jax.Array:
    """The largest Lyapunov exponents: at what rate small changes of the carry grow.

    Two carries that differ a little differ by ``exp(λ T)`` times as much after T steps, λ
    the first exponent: below 0 the network forgets where it started, above 0 it is
    chaotic (Vogt et al. 2022, arXiv:2006.14123). Found as there: orthonormal changes are
    carried along and made orthonormal again after each step (Benettin et al. 1980).

    Args:
        cell: any `Cell` that runs in one direction.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``; the exponents are those of T steps.
        count: how many exponents, from the largest; at most the size of a row's carry.
        warmup: so many first steps turn the changes into their directions and are not
            counted; less than T.

    Returns:
        ``[*batch, count]``, nats a step; minus infinity where changes die at once. Over few
        steps they need not be in order. Nothing grows with T.

    Raises:
        ValueError: for a count or a warmup out of range, a carry without floating-point
            leaves, and whatever `jaxrnn.unroll` refuses.

    Example:
        A basic RNN with a large recurrent kernel is chaotic, with a small one forgets:

        >>> import jax, jaxrnn
        >>> from jaxrnn import probe
        >>> cell = jaxrnn.simple_rnn(32)
        >>> params = cell.init(jax.random.key(0), features=1)
        >>> xs = 0.1 * jax.random.normal(jax.random.key(1), (300, 1, 1))
        >>> exponent = lambda scale: float(probe.lyapunov(
        ...     cell, params._replace(wh=scale * params.wh), None, xs, warmup=100)[0, 0])
        >>> exponent(3.0) > 0 > exponent(0.5)
        True
    """
    carry = _started(cell, params, carry, xs)
    flat = jax.eval_shape(lambda: _pushing(cell, params, carry, _first(xs))[0])
    length = len(jax.tree.leaves(xs)[0])
    if not 1 <= count <= flat.shape[-1]:
        raise ValueError(
            f"count: expected 1 to {flat.shape[-1]}, the size of a row's carry, "
            f"got {count}."
        )
    if not 0 <= warmup < length:
        raise ValueError(f"warmup: expected 0 to {length - 1} steps, got {warmup}.")
    shape = (*flat.shape, count)
    changes = jnp.linalg.qr(jax.random.normal(jax.random.key(0), shape, flat.dtype))[0]

    def step(state, now):
        carry, changes, total = state
        x, counts = now
        _, push = _pushing(cell, params, carry, x)
        changes, triangle = jnp.linalg.qr(jax.vmap(push, -1, -1)(changes))
        growth = jnp.log(jnp.abs(jnp.diagonal(triangle, axis1=-2, axis2=-1)))
        carry = cell.step(params, carry, x)[0]
        return (carry, changes, total + jnp.where(counts, growth, 0)), None

    counts = jnp.arange(length) >= warmup
    start = (carry, changes, jnp.zeros((*flat.shape[:-1], count), flat.dtype))
    (_, _, total), _ = jax.lax.scan(step, start, (xs, counts))
    return total / (length - warmup)


def timescale(
    cell: Cell,
    params: Any,
    carry: Any,
    xs: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    reverse: bool = False,
) -> Any:
    """How many steps each unit holds on to what it has: ``-1 / mean(log keep_t)``.

    `keep` is what a unit's new value has of its old one, the gates as they are: the forget
    gate of an LSTM's c, the keep gate of a GRU's h, 0 where no gate keeps anything (a basic
    RNN, and an LSTM's h). After so many steps ``1/e`` of a value is left (Tallec and
    Ollivier 2018, arXiv:1804.11188). For a gated cell it is the derivative of ``update``
    by the carry; of any other, the diagonal of its step's Jacobian.

    Args:
        cell: any `Cell`.
        params: what ``cell.init`` returned.
        carry: the carry that comes in, or None for ``cell.initial_carry``.
        xs: inputs ``[T, *batch, F]``.
        lengths, mask, reverse: see `jaxrnn.unroll`; the mean is over the valid steps.

    Returns:
        A tree like the carry, ``[*batch, H]`` in steps: 0 for what is lost at once,
        infinity for what does not decay; NaN for a row without a valid step. Sums run
        along with time: nothing of the size ``[T, H]`` is kept but each layer's outputs.

    Raises:
        ValueError: whatever `jaxrnn.unroll` refuses.

    Example:
        A bias of 3 on the forget gate is a memory of some 20 steps:

        >>> import jax, jaxrnn
        >>> from jaxrnn import probe
        >>> cell = jaxrnn.lstm(4, forget_bias=3.0)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = 0.1 * jax.random.normal(jax.random.key(1), (50, 2, 3))
        >>> scale = probe.timescale(cell, params, None, xs)
        >>> scale.c.shape, bool(15 < scale.c.mean() < 25), float(scale.h.max())
        ((2, 4), True, 0.0)
    """
    check_cell(cell)

    def watch(cell, params, carry, xs, control):
        total = jax.tree.map(
            lambda c: jnp.zeros(c.shape, c.dtype if is_float(c) else None), carry
        )
        batch = slice(1, 1 + (control.batch_ndim or 0))
        rows = jnp.zeros(jax.tree.leaves(xs)[0].shape[batch])
        kept = _keeper(cell)

        def step(params, state, x):
            carry, total, count = state
            new, h, keep = kept(params, carry, x)
            logs = jax.tree.map(lambda t, k: t + jnp.log(jnp.abs(k)), total, keep)
            return (new, logs, count + 1), h

        state = (carry, total, rows)
        (_, total, count), hs = engine.run(
            stepping(cell, step), params, state, xs, control
        )
        return jax.tree.map(lambda t: _decay(t, count), total), hs

    options = {"lengths": lengths, "mask": mask, "reverse": reverse}
    return through(watch, cell, params, carry, xs, **options)[0]


def _keeper(cell: Cell) -> Callable:
    """``(params, carry, x) -> (carry, h, keep)``, keep like the carry."""

    parts: Any = cell.parts

    def of_gates(params, carry, x):
        now, new = opened(cell, params, carry, x)
        keep = _diagonal(lambda c: parts.update(params, c, now), carry)
        return new, parts.output(params, new), keep

    def of_step(params, carry, x):
        new, h = cell.step(params, carry, x)
        keep = _diagonal(lambda c: cell.step(params, c, x)[0], carry)
        return new, h, keep

    return of_gates if isinstance(parts, Gated) else of_step


def _diagonal(f: Callable, carry: Any) -> Any:
    """What each unit of ``f(carry)`` has of itself; 1 for leaves without a gradient.

    Where units do not mix, one direction holds all of them; else each unit needs its own.
    """
    leaves, structure = jax.tree.flatten(carry)
    found = []
    for n, leaf in enumerate(leaves):
        if not is_float(leaf):
            found.append(jnp.ones(leaf.shape))
            continue

        def of_leaf(a, n=n):
            others = [*leaves[:n], a, *leaves[n + 1 :]]
            return jax.tree.leaves(f(structure.unflatten(others)))[n]

        def along(direction, leaf=leaf, of_leaf=of_leaf):
            return jax.jvp(of_leaf, (leaf,), (direction,))[1]

        if elementwise(of_leaf, leaf):
            found.append(along(jnp.ones_like(leaf)))
            continue
        width = leaf.shape[-1]
        each = jax.lax.map(
            lambda e, leaf=leaf, along=along: along(jnp.broadcast_to(e, leaf.shape)),
            jnp.eye(width, dtype=leaf.dtype),
        )
        found.append(jnp.einsum("i...i->...i", each))
    return jax.tree.unflatten(structure, found)


def _decay(total: jax.Array, count: jax.Array) -> jax.Array:
    """Steps to 1/e, of a sum of logarithms over `count` steps."""
    axes = range(count.ndim, total.ndim)
    mean = total / jnp.expand_dims(count.astype(total.dtype), axes)
    # Where nothing decays, growth has no time scale either.
    return jnp.where(mean >= 0, jnp.inf, -1 / mean)


def _pushing(cell: Cell, params: Any, carry: Any, x: Any) -> tuple[jax.Array, Callable]:
    """The carry as ``[*batch, D]``, and how a step changes a small change of it."""
    leaves, structure = jax.tree.flatten(carry)
    shape, events = jax.tree.leaves(x)[0].shape, cell.event_ndim
    batch = shape[: len(shape) - (1 if events is None else events)]
    moves = [is_float(leaf) for leaf in leaves]
    flat = lambda leaves: jnp.concatenate(
        [a.reshape(*batch, -1) for a, m in zip(leaves, moves, strict=True) if m], -1
    )

    def step(carry):
        return flat(jax.tree.leaves(cell.step(params, carry, x)[0]))

    def push(change):
        pieces, at = [], 0
        for leaf, m in zip(leaves, moves, strict=True):
            size = math.prod(leaf.shape[len(batch) :]) if m else 0
            piece = change[..., at : at + size].reshape(leaf.shape) if m else None
            pieces.append(
                np.zeros(leaf.shape, jax.dtypes.float0)
                if piece is None
                else piece.astype(leaf.dtype)
            )
            at += size
        return jax.jvp(step, (carry,), (jax.tree.unflatten(structure, pieces),))[1]

    return flat(leaves), push


def _first(xs: Any) -> Any:
    return jax.tree.map(lambda a: a[0], xs)


def _started(cell: Any, params: Any, carry: Any, xs: Any) -> Any:
    """The carry that comes in, after the argument checks of `jaxrnn.unroll`."""
    check_cell(cell)
    jax.eval_shape(lambda: unroll(cell, params, carry, xs))
    if carry is None:
        carry = cell.initial_carry(params, _first(xs))
    if not any(is_float(c) for c in jax.tree.leaves(carry)):
        raise ValueError(
            "carry: expected floating-point leaves, got "
            f"{[str(c.dtype) for c in jax.tree.leaves(carry)]}. What is no number that can "
            "change a little has no Jacobian."
        )
    return carry

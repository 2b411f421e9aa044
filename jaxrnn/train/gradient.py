"""The gradient of a batch, whole or cut into microbatches and over devices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn._tree import check_like, wide
from jaxrnn.train import parallel
from jaxrnn.train.axes import batch_axes, in_parts, rows_divide
from jaxrnn.train.loss import returned, with_shared, without_shared
from jaxrnn.train.mean import divisor, terms
from jaxrnn.train.processes import is_key
from jaxrnn.train.state import State


def make_gradient(
    loss: Callable, *, accumulate: int = 1, batch_axis: Any = None, mesh: Any = None
) -> Callable:
    """``(state, batch) -> (carry, shared, grads, means)`` of one update."""

    def gradient(state: State, batch: Any):
        scale = _scale(batch)
        call = functools.partial(
            _accumulated, loss, accumulate, batch_axis, mesh, scale
        )
        if mesh is not None:
            parts = accumulate * parallel.size(mesh)
            axes = batch_axes(batch, batch_axis, parts)
            call = parallel.split_rows(call, mesh, axes)
        key = jax.random.fold_in(state.key, state.step)
        carry, (grads, means, moved) = call(
            state.params, state.carry, state.shared, batch, key
        )
        if mesh is not None or accumulate > 1:
            moved = jax.tree.map(_arrived, state.shared, moved)
        factor = 1.0
        if len(terms(means["loss"])) == 1:
            # Of the total, in parts of 1 / scale; the mean's is that over the weight.
            factor = scale / divisor(terms(means["loss"])[0].weight)
        cast = lambda g, p: (g * factor).astype(p.dtype)
        return carry, moved, jax.tree.map(cast, grads, state.params), means

    return gradient


def _scale(batch: Any) -> float:
    """About what a batch's total is larger than its mean, a power of two.

    The gradient of a total overflows half precision, that of a mean does not.
    """
    size = max((math.prod(np.shape(a)) for a in jax.tree.leaves(batch)), default=1)
    return 2.0 ** max(size.bit_length() - 1, 0)


def make_forward(loss: Callable, *, batch_axis: Any = None, mesh: Any = None):
    """``(params, carry, shared, batch) -> (carry, means)``, key None; compiled.

    A batch whose rows do not divide over the mesh, or cannot be told from its shapes, is
    run whole on every device.
    """

    def call(params, carry, shared, batch, key):
        new, means = returned(loss, params, with_shared(carry, shared), batch, key)
        return without_shared(new, shared)[0], means

    @jax.jit
    def forward(params, carry, shared, batch):
        run = call
        if mesh is not None:
            axes = _known_axes(batch, batch_axis)
            count = parallel.size(mesh)
            if axes is not None and rows_divide(batch, axes, count):
                run = parallel.split_rows(call, mesh, axes)
        return run(params, carry, shared, batch, None)

    return forward


def _known_axes(batch: Any, batch_axis: Any) -> Any:
    """`batch_axes`, or None where nothing says which they are."""
    try:
        return batch_axes(batch, batch_axis)
    except ValueError:
        if batch_axis is None:
            return None
        raise


def _accumulated(
    loss, accumulate, batch_axis, mesh, scale, params, carry, shared, batch, key
):
    """``(carry, (grads, means, moved))``, the latter summed over the microbatches."""
    name = None if mesh is None else mesh.axis_names[0]
    cut = mesh is not None or accumulate > 1

    def called(params, carry, batch, key):
        flow = with_shared(carry, shared)
        new, means = returned(loss, params, flow, batch, key)
        remedy = (
            "Return the carry for the next batch and start it by init(..., carry=), or "
            "return None and let every batch start anew."
            if shared is None
            else "With shared state, return carry._replace(...) of the Carry given."
        )
        check_like("the carry that loss returns", new, flow, remedy)
        return without_shared(new, shared), means

    def objective(params, over, first, carry, batch, key):
        (carry, new), means = called(params, carry, batch, key)
        summed = terms(means["loss"])
        if len(summed) == 1:
            total = summed[0].total / scale
        else:
            own = [divisor(lax.stop_gradient(term.weight)) for term in summed]
            pairs = zip(summed, over or own, strict=True)
            total = sum(term.total / weight for term, weight in pairs)
        if cut:
            move = functools.partial(_moved, accumulate * parallel.size(mesh), first)
            new = jax.tree.map(move, new, shared)
        return total, (carry, means, new)

    gradient = jax.value_and_grad(objective, has_aux=True)

    def one(over, first, carry, batch, key):
        (_, (carry, means, moved)), grads = gradient(
            params, over, first, carry, batch, key
        )
        # Half precision would lose small parts beside the sum of many.
        grads = jax.tree.map(lambda g: g.astype(wide(g.dtype)), grads)
        return carry, (grads, means, moved)

    def weights(first, carry, batch, key):
        """What the loss's means divide by: known without computing any of them."""
        means = called(params, carry, batch, key)[1]
        return [term.weight for term in terms(means["loss"])]

    for path, leaf in jax.tree.leaves_with_path(carry):
        if not np.shape(leaf) or np.shape(leaf)[0] % accumulate:
            raise ValueError(
                f"carry{jax.tree_util.keystr(path)}: expected rows on axis 0 that "
                f"{accumulate} microbatches divide, got {list(np.shape(leaf))}. What is "
                "no row of the batch belongs in init(..., shared=)."
            )
    first = jnp.array(True) if name is None else lax.axis_index(name) == 0
    whole = first, carry, batch, key
    if not cut:
        return one(None, *whole)
    several = len(jax.eval_shape(weights, *whole)) > 1
    over = None
    if accumulate == 1:
        if several:
            counted = lax.psum(parallel.vary(weights(*whole), name), name)
            over = [divisor(n) for n in counted]
        return one(over, *whole)
    axes = batch_axes(batch, batch_axis, accumulate)
    numbers = jnp.arange(accumulate)
    cuts = (
        first & (numbers == 0),
        in_parts(carry, jax.tree.map(lambda _: 0, carry), accumulate),
        in_parts(batch, axes, accumulate),
        jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers),
    )
    if several:
        counted = lax.map(lambda cut: parallel.vary(weights(*cut), name), cuts)
        counted = [jnp.sum(n) for n in counted]
        counted = counted if name is None else lax.psum(counted, name)
        over = [divisor(n) for n in counted]

    def add(sums, cut):
        carry, more = one(over, *cut)
        more = parallel.vary(more, name)
        return jax.tree.map(jnp.add, sums, more), parallel.vary(carry, name)

    _, like = jax.eval_shape(one, over, *jax.tree.map(lambda a: a[0], cuts))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    sums, carry = lax.scan(add, parallel.vary(zeros, name), cuts)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), carry), sums


def _moved(parts: int, first: Any, new: Any, old: Any) -> Any:
    """One part's share of the way from `old` to `new`; the shares of all add up.

    Of what is not floating, the first part has all.
    """
    if is_key(new):
        new, old = jax.random.key_data(new), jax.random.key_data(old)
    if jnp.issubdtype(new.dtype, jnp.floating):
        moves = (new != old) | ~jnp.isfinite(old)
        return jnp.where(moves, new - _base(old), 0) / parts
    if new.dtype == bool:
        new, old = new.astype(jnp.uint8), old.astype(jnp.uint8)
    return jnp.where(first, new - old, jnp.zeros_like(new))


def _arrived(old: Any, moved: Any) -> Any:
    """`old` and the sum of what `_moved` made in each part."""
    if is_key(old):
        data = jax.random.key_data(old) + moved
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(old))
    base = _base(old) if jnp.issubdtype(old.dtype, jnp.floating) else old
    return (base.astype(moved.dtype) + moved).astype(old.dtype)


def _base(old: jax.Array) -> jax.Array:
    """Where the way to the new value starts: an infinity is no such place."""
    return jnp.where(jnp.isfinite(old), old, jnp.zeros_like(old))

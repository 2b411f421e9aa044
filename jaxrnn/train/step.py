"""One update: a pure function of the state and a batch."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxrnn.cell import check_like
from jaxrnn.train import parallel
from jaxrnn.train.mean import Mean

RESERVED = ("step", "split", "grad_norm", "weight", "skipped")


class State(NamedTuple):
    """All that a training run is; a pytree, so that it can be saved, split and vmapped.

    Fields:
        step: int32, the batches that went in so far.
        params, opt_state: the model's and the Optax optimizer's.
        carry: what flows from batch to batch, or None where each starts anew.
        key: the run's PRNG key; update n uses ``fold_in(key, n)``.
        skipped: int32, updates that were left out because something was not finite.
        in_a_row: int32, how many of them came last, one after the other.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    carry: Any
    key: jax.Array
    skipped: jax.Array
    in_a_row: jax.Array


def init(
    params: Any,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    carry: Any = None,
) -> State:
    """The state before the first update.

    Args:
        params: what is trained, any pytree of floating arrays.
        optimizer: from Optax; clipping and schedules are parts of it.
        key: a PRNG key for what is random in data and loss.
        carry: the carry of the first batch, such as ``cell.initial_carry(params, x)``,
            for truncated backpropagation through a stream; None: every batch starts from
            the initial carry.

    Example:
        >>> import jax, jaxrnn, optax
        >>> from jaxrnn import train
        >>> params = jaxrnn.gru(4).init(jax.random.key(0), features=3)
        >>> state = train.init(params, optax.adam(1e-3), jax.random.key(1))
        >>> int(state.step), state.carry is None
        (0, True)
    """
    params = jax.tree.map(jnp.asarray, params)
    zero = jnp.zeros((), jnp.int32)
    return State(zero, params, optimizer.init(params), carry, key, zero, zero)


def make_step(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    batch_axis: Any = 1,
    mesh: Any = None,
    max_nonfinite: int | None = None,
) -> Callable:
    """``step(state, batch) -> (state, means)``, compiled; pure, to scan or vmap it.

    The objective is ``means["loss"]``: the gradient of its total over its weight, both
    summed over all microbatches and devices first, so that however a batch is cut, a
    token counts the same. Weights count what there is: they are constants to the gradient.

    Args:
        loss: ``(params, carry, batch, key) -> (carry, means)``. `carry` is the state's:
            None starts anew at each batch, and is then returned as None; gradients do
            not flow into it. `means` are named `Mean`, "loss" among them. `key` is None
            in evaluation.
        optimizer: from Optax; it is also told ``value`` and ``grad``.
        accumulate: in how many microbatches the gradient is computed, one after the
            other; less memory, same update. A carry has its rows on axis 0.
        batch_axis: where the rows are in each leaf of a batch: an int, or ints in a tree
            like the batch. Read by `accumulate` and `mesh`.
        mesh: of one axis, over which rows are split; see `data_mesh`.
        max_nonfinite: after so many skipped updates in a row the state stays as it is.

    Returns:
        `step`. An update in which the loss or a gradient is not finite, or would make
        params, optimizer state or carry so, is skipped: all three stay as they were, the
        schedule too, ``skipped`` counts, and `means` have weight 0. `means` has
        "grad_norm" besides.

    Raises:
        ValueError: when called, if the loss returns something else or rows do not divide.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn, optax
        >>> from jaxrnn import train
        >>> cell, optimizer = jaxrnn.gru(4), optax.adam(1e-2)
        >>> def loss(params, carry, batch, key):
        ...     _, hs = jaxrnn.unroll(cell, params, carry, batch)
        ...     return None, {"loss": train.mean((hs - 0.5) ** 2)}
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> state = train.init(params, optimizer, jax.random.key(1))
        >>> step = train.make_step(loss, optimizer)
        >>> xs = jax.random.normal(jax.random.key(2), (5, 2, 3))
        >>> state, before = step(state, xs)
        >>> state, after = step(state, xs)
        >>> bool(after["loss"].value < before["loss"].value)
        True
    """
    check_count("accumulate", accumulate)
    parallel.check_mesh(mesh)
    optimizer = optax.with_extra_args_support(optimizer)
    gradient = make_gradient(
        loss, accumulate=accumulate, batch_axis=batch_axis, mesh=mesh
    )

    @jax.jit
    def step(state: State, batch: Any) -> tuple[State, dict[str, Mean]]:
        carry, grads, means = gradient(state, batch)
        value = means["loss"].value
        updates, opt_state = optimizer.update(
            grads, state.opt_state, state.params, value=value, grad=grads
        )
        params = optax.apply_updates(state.params, updates)

        good = _finite((value, grads, params))
        # A carry or an optimizer may hold an infinity of its own.
        good &= _no_worse((carry, opt_state), (state.carry, state.opt_state))
        halted = False if max_nonfinite is None else state.in_a_row >= max_nonfinite
        taken = good & ~jnp.asarray(halted)
        either = lambda new, old: jax.tree.map(
            lambda a, b: jnp.where(taken, a, b), new, old
        )
        running = jnp.int32(~jnp.asarray(halted))
        state = State(
            step=state.step + running,
            params=either(params, state.params),
            opt_state=either(opt_state, state.opt_state),
            carry=either(carry, state.carry),
            key=state.key,
            skipped=state.skipped + running * ~good,
            in_a_row=jnp.where(taken, 0, state.in_a_row + running),
        )
        means = means | {"grad_norm": Mean(optax.tree.norm(grads), jnp.ones(()))}
        return state, jax.tree.map(lambda a: jnp.where(taken, a, 0), means)

    return step


def make_gradient(
    loss: Callable, *, accumulate: int = 1, batch_axis: Any = 1, mesh: Any = None
) -> Callable:
    """``(state, batch) -> (carry, grads, means)`` of one update; see `make_step`."""

    def gradient(state: State, batch: Any):
        scale = _scale(batch)
        call = functools.partial(
            _accumulated, loss, accumulate, batch_axis, mesh, scale
        )
        if mesh is not None:
            parts = accumulate * parallel.size(mesh)
            axes = parallel.batch_axes(batch, batch_axis, parts)
            call = parallel.split_rows(call, mesh, axes)
        key = jax.random.fold_in(state.key, state.step)
        carry, (grads, means) = call(state.params, state.carry, batch, key)
        # Of the total, in parts of 1 / scale; the mean's is that over the weight.
        factor = scale / means["loss"].weight
        cast = lambda g, p: (g * factor).astype(p.dtype)
        return carry, jax.tree.map(cast, grads, state.params), means

    return gradient


def _scale(batch: Any) -> float:
    """About what a batch's total is larger than its mean, a power of two.

    The gradient of a total overflows half precision, that of a mean does not.
    """
    size = max((math.prod(np.shape(a)) for a in jax.tree.leaves(batch)), default=1)
    return 2.0 ** max(size.bit_length() - 1, 0)


def make_forward(loss: Callable, *, batch_axis: Any = 1, mesh: Any = None) -> Callable:
    """``(params, carry, batch) -> (carry, means)`` without gradients, key None; compiled.

    A batch whose rows do not divide over the mesh is run whole on every device.
    """

    def call(params, carry, batch, key):
        carry, means = loss(params, carry, batch, key)
        check_means(means)
        return carry, means

    @jax.jit
    def forward(params, carry, batch):
        run = call
        if mesh is not None:
            axes = parallel.batch_axes(batch, batch_axis)
            if parallel.rows_divide(batch, axes, parallel.size(mesh)):
                run = parallel.split_rows(call, mesh, axes)
        return run(params, carry, batch, None)

    return forward


def _accumulated(loss, accumulate, batch_axis, mesh, scale, params, carry, batch, key):
    """``(carry, (grads, means))``, both sums over this device's microbatches."""
    name = None if mesh is None else mesh.axis_names[0]

    def objective(params, carry, batch, key):
        new, means = loss(params, carry, batch, key)
        check_means(means)
        remedy = (
            "Return the carry for the next batch and start it by init(..., carry=), or "
            "return None and let every batch start anew."
        )
        check_like("the carry that loss returns", new, carry, remedy)
        return means["loss"].total / scale, (new, means)

    gradient = jax.value_and_grad(objective, has_aux=True)

    def one(carry, batch, key):
        (_, (carry, means)), grads = gradient(params, carry, batch, key)
        # Half precision would lose small parts beside the sum of many.
        wide = lambda g: g.astype(jnp.promote_types(g.dtype, jnp.float32))
        return carry, (jax.tree.map(wide, grads), means)

    if accumulate == 1:
        return one(carry, batch, key)
    for path, leaf in jax.tree.leaves_with_path(carry):
        if not np.shape(leaf) or leaf.shape[0] % accumulate:
            raise ValueError(
                f"carry{jax.tree_util.keystr(path)}: expected rows on axis 0 that "
                f"{accumulate} microbatches divide, got {list(np.shape(leaf))}."
            )
    axes = parallel.batch_axes(batch, batch_axis, accumulate)
    first = jax.tree.map(lambda _: 0, carry)
    parts = (
        parallel.in_parts(carry, first, accumulate),
        parallel.in_parts(batch, axes, accumulate),
        jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(accumulate)),
    )

    def add(sums, part):
        carry, more = one(*part)
        more = parallel.vary(more, name)
        return jax.tree.map(jnp.add, sums, more), parallel.vary(carry, name)

    _, like = jax.eval_shape(one, *jax.tree.map(lambda a: a[0], parts))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    sums, carry = lax.scan(add, parallel.vary(zeros, name), parts)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), carry), sums


def check_means(means: Any) -> None:
    """Raises ValueError unless `means` are named scalars `Mean` with a "loss"."""
    wanted = 'expected a dict of train.Mean with the entry "loss" as its second result'
    if not isinstance(means, dict) or "loss" not in means:
        raise ValueError(
            f"loss: {wanted}, got {means!r}. train.mean(values) makes one."
        )
    for name, mean in means.items():
        if name in RESERVED:
            raise ValueError(
                f"loss: expected other names of means than {RESERVED}, which every row "
                f"has of its own, got {name!r}."
            )
        if not isinstance(mean, Mean) or np.shape(mean.total) or np.shape(mean.weight):
            raise ValueError(
                f"loss: {wanted}, of scalars, got {mean!r} for {name!r}. "
                "train.mean(values) makes one."
            )


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raises ValueError unless `value` is an integer from `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}: expected an integer from {least}, got {value!r}.")


def _finite(tree: Any) -> jax.Array:
    leaves = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.stack([jnp.array(True), *(jnp.isfinite(a).all() for a in leaves)]).all()


def _no_worse(new: Any, old: Any) -> jax.Array:
    """Whether all that was finite in `old` still is."""

    def one(a, b):
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            return jnp.array(True)
        return (jnp.isfinite(a) | ~jnp.isfinite(b)).all()

    kept = jax.tree.leaves(jax.tree.map(one, new, old))
    return jnp.stack([jnp.array(True), *kept]).all()

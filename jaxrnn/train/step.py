"""One update: a pure function of the state and a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrnn._functions import check_function
from jaxrnn._tree import check_like
from jaxrnn.train import parallel
from jaxrnn.train.checks import check_count, check_optimizer
from jaxrnn.train.gradient import make_gradient
from jaxrnn.train.loss import check_loss
from jaxrnn.train.mean import Mean, Sum, divisor, terms
from jaxrnn.train.state import State, check_state


def make_step(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    batch_axis: Any = None,
    mesh: Any = None,
    max_nonfinite: int | None = None,
    update_shared: Callable | None = None,
) -> Callable:
    """``step(state, batch) -> (state, means)``, compiled; pure, to scan or vmap it.

    The objective is ``means["loss"]``. Its total and its weight are summed over all
    microbatches and devices, and the gradient is that of total / weight: a token counts
    the same however a batch is split. It may also be a sum of means with weights of their
    own, such as ``train.mean(per_token, valid) + 0.1 * train.mean(per_sequence)``. Weights
    are counts, which the gradient treats as constants.

    Args:
        loss: ``(params, carry, batch, key) -> (carry, means)``. `carry` is the state's:
            None starts anew at each batch, and is then returned as None; gradients do
            not flow into it. With shared state it is a `Carry`. `means` are named `Mean`,
            "loss" among them. `key` is None in evaluation.
        optimizer: from Optax; it is also told ``value``, ``grad`` and ``shared``.
        accumulate: the number of microbatches per update. They run one after another,
            which needs less memory and gives the same update. A carry has its rows on
            axis 0.
        batch_axis: where the rows are in each leaf of a batch: an int, or ints in a tree
            like the batch; None: as `arrays`, `streams` and `buckets` make them, else
            inferred from the shapes. Read by `accumulate` and `mesh`.
        mesh: of one axis, over which rows are split; see `data_mesh`.
        max_nonfinite: after so many skipped updates in a row the state stays as it is.
        update_shared: ``(state, means, finite) -> shared`` returns the new shared state.
            It is called after every update, skipped ones included. `finite` is a bool,
            False if the update was skipped. None keeps what the loss returned.

    Returns:
        `step`. An update is skipped if the loss or a gradient is not finite, or if it
        would make params, optimizer state, carry or shared state not finite. All of these
        then stay unchanged, the schedule included; ``skipped`` is incremented, and `means`
        have weight 0. A batch whose loss has weight 0 makes no update either, but carry
        and shared state become what the loss returned, and ``empty`` is incremented.
        `means` also holds "grad_norm", "skipped" and "empty"; the last two are 0 or 1.

        Shared state that the loss returns is averaged over microbatches and devices,
        which all start from the state's; leaves that are not floating must be the same
        in all.

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
    check_loss(loss)
    check_optimizer(optimizer)
    if update_shared is not None:
        check_function("update_shared", update_shared, "state, means, finite")
    parallel.check_mesh(mesh)
    optimizer = optax.with_extra_args_support(optimizer)
    gradient = make_gradient(
        loss, accumulate=accumulate, batch_axis=batch_axis, mesh=mesh
    )

    @jax.jit
    def step(state: State, batch: Any) -> tuple[State, dict[str, Mean | Sum]]:
        check_state(state)
        carry, shared, grads, means = gradient(state, batch)
        value, empty = _value(means["loss"])
        updates, opt_state = optimizer.update(
            grads,
            state.opt_state,
            state.params,
            value=value,
            grad=grads,
            shared=state.shared,
        )
        params = optax.apply_updates(state.params, updates)

        # A carry, shared state or an optimizer may hold an infinity of its own.
        updated = _finite(params) & _no_worse(opt_state, state.opt_state)
        flows = _no_worse((carry, shared), (state.carry, state.shared))
        good = _finite((value, grads)) & flows & (updated | empty)
        running = jnp.array(True)
        if max_nonfinite is not None:
            running = state.in_a_row < max_nonfinite
        flowed, failed = good & running, ~good & running
        taken = flowed & ~empty
        count = lambda flag: flag.astype(jnp.int32)

        means = means | {"grad_norm": Mean(optax.tree.norm(grads), count(~empty))}
        means = _select(flowed, means, jax.tree.map(jnp.zeros_like, means))
        flags = {"skipped": failed, "empty": flowed & empty}
        means |= {n: Mean(count(flag), count(running)) for n, flag in flags.items()}
        new = State(
            step=state.step + count(running),
            params=_select(taken, params, state.params),
            opt_state=_select(taken, opt_state, state.opt_state),
            carry=_select(flowed, carry, state.carry),
            shared=_select(flowed, shared, state.shared),
            key=state.key,
            skipped=state.skipped + count(failed),
            in_a_row=jnp.where(taken, 0, state.in_a_row + count(failed)),
            empty=state.empty + count(flowed & empty),
        )
        if update_shared is not None:
            reacted = update_shared(new, means, good)
            remedy = "update_shared must keep its structure, shapes and dtypes."
            check_like(
                "the shared state that update_shared returns",
                reacted,
                state.shared,
                remedy,
            )
            new = new._replace(shared=_select(running, reacted, state.shared))
        return new, means

    return step


def _value(mean: Mean | Sum) -> tuple[Any, Any]:
    """The objective, and whether nothing counts in it: then 0 unless a total is not."""
    summed = terms(mean)
    value = sum(term.total / divisor(term.weight) for term in summed)
    return value, jnp.stack([term.weight == 0 for term in summed]).all()


def _select(flag: Any, then: Any, otherwise: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), then, otherwise)


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

"""Training one model: `fit`, and `evaluate` for its means without updates."""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

from jaxrnn.train import identity, loop, parallel
from jaxrnn.train.checkpoint import write_tree
from jaxrnn.train.feed import (
    Drawn,
    Fed,
    Group,
    batch_axis_of,
    check_rows,
    check_valid,
    each,
)
from jaxrnn.train.nonfinite import NonFinite, first_bad
from jaxrnn.train.record import add_up, plain, quotient, totals
from jaxrnn.train.same import Same
from jaxrnn.train.step import (
    State,
    check_count,
    check_loss,
    check_state,
    make_forward,
    make_gradient,
    make_step,
)


class Fitted(NamedTuple):
    """What `fit` returns.

    Fields:
        state: after the last update.
        params: the best by validation loss; without a finite validation the last.
        best: the row of that validation, or None.
        history: all rows, those of `metrics.jsonl`; from before a resume too (in the
            first process, if there are several).
        shared: the state's shared state at `params`.
    """

    state: State
    params: Any
    best: dict | None
    history: list[dict]
    shared: Any = None


def fit(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    state: State,
    data: Callable | Iterable,
    *,
    steps: int,
    steps_per_call: int = 50,
    log_every: int | None = None,
    valid: Iterable | None = None,
    valid_every: int | None = None,
    patience: int | None = None,
    folder: str | os.PathLike | None = None,
    save_every: int | None = None,
    keep: int = 3,
    accumulate: int = 1,
    batch_axis: Any = None,
    mesh: jax.sharding.Mesh | None = None,
    max_nonfinite: int = 5,
    update_shared: Callable | None = None,
    callback: Callable | None = None,
    progress: bool = True,
) -> Fitted:
    """Trains from `state`, or from its folder's newest checkpoint, until step `steps`.

    With a `folder`, calling it again is resuming: a run that was killed at any moment and
    called again ends with the same params, optimizer state and ``metrics.jsonl``, bit for
    bit, as a run that was not killed. SIGTERM saves and leaves by ``SystemExit(143)``.

    Args:
        loss, optimizer: see `make_step`.
        state: from `init`.
        data: either a function ``(key) -> batch``, which runs on the device inside the
            compiled loop with a new key for each update, or an iterable of batches, such
            as `arrays`, `streams` and `buckets` return. The iterable is restarted when it
            ends. To resume, its iterator needs ``get_state`` and ``set_state``, as
            grain's have; a list is fine.
        steps: updates in all, resumed ones included.
        steps_per_call: updates in one compiled call. A call takes batches of one shape, so
            it may be shorter. About twice that many batches are in memory at a time. A
            call compiles once in a process for losses, optimizers and data functions that
            compute the same. A function that reads a mutable object, such as a NumPy
            array, is equal only to itself: define it once, outside a loop over seeds. As
            under `jax.jit`, values from outside are read when the call is compiled.
        log_every: updates in a row of the history; None: as `steps_per_call`. A row is the
            mean over all of them, weighted as the loss says.
        valid: batches to validate on, gone through anew each time, so they must end; the
            carry starts as None and flows from one to the next. The loss gets key None.
        valid_every: updates between validations; None: as `save_every`.
        patience: stop after so many validations in a row without a better loss; None:
            never.
        folder: for checkpoints, ``metrics.jsonl`` and ``timing.jsonl``; "~" is the home
            directory; None: nothing is written. It keeps what the run is in ``run.json``
            and refuses another one.
        save_every: updates between checkpoints; None: 10 calls. The last is saved too.
        keep: how many checkpoints stay.
        accumulate, batch_axis, update_shared: see `make_step`.
        mesh: see `make_step`; ``mesh=train.data_mesh()`` uses every device. Batches are
            whole: every process is given all rows.
        max_nonfinite: skipped updates in a row after which it stops.
        callback: called with each row, a dict, in the first process.
        progress: a bar in a terminal; elsewhere a line per row.

    Returns:
        `Fitted`. Rows are ``{"step", "split": "train" or "valid", "loss", ...}`` with
        the loss's means by name. Those of "train" also have "grad_norm", the loss's
        "weight" (of a sum: of its first term), and how many updates were "skipped" and
        how many batches "empty".

    Raises:
        ValueError: for options that do not fit, a loss that breaks its contract, or a
            folder that holds another run.
        NonFinite: after `max_nonfinite` skipped updates in a row.
        OSError: if the folder is in use, or cannot be written to. What was saved stays.

    Warns:
        RuntimeWarning: if no validation was finite; `params` are then the last ones.
        UserWarning: if a folder's run goes on with an optimizer that computes something
            else than before.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn, optax
        >>> from jaxrnn import train
        >>> cell, optimizer = jaxrnn.gru(8), optax.adam(1e-2)
        >>> def draw(key):  # is the sum of what was read above zero?
        ...     xs = jax.random.normal(key, (6, 16, 1))
        ...     return xs, xs.sum((0, 2)) > 0
        >>> def loss(params, carry, batch, key):
        ...     xs, above = batch
        ...     h, _ = jaxrnn.unroll(cell, params, carry, xs)
        ...     odds = h.sum(axis=-1)
        ...     losses = optax.sigmoid_binary_cross_entropy(odds, above)
        ...     right = train.mean((odds > 0) == above)
        ...     return None, {"loss": train.mean(losses), "accuracy": right}
        >>> params = cell.init(jax.random.key(0), features=1)
        >>> state = train.init(params, optimizer, jax.random.key(1))
        >>> fitted = train.fit(loss, optimizer, state, draw, steps=200, progress=False)
        >>> fitted.history[-1]["step"], fitted.history[-1]["accuracy"] > 0.8
        (200, True)
    """
    plan = loop.Plan.checked(
        steps=steps,
        steps_per_call=steps_per_call,
        log_every=log_every,
        save_every=save_every,
        valid_every=valid_every,
        patience=patience,
        keep=keep,
        max_nonfinite=max_nonfinite,
    )
    parallel.check_mesh(mesh)
    check_state(state)
    check_count("accumulate", accumulate)
    if valid is not None:
        check_valid(valid)
    valid_axis = batch_axis_of(valid, batch_axis)
    batch_axis = batch_axis_of(data, batch_axis)
    check_rows(data, batch_axis, accumulate * parallel.size(mesh))
    source = (
        Drawn(data) if callable(data) else Fed(data, steps_per_call, batch_axis, mesh)
    )
    cut: dict[str, Any] = dict(accumulate=accumulate, batch_axis=batch_axis, mesh=mesh)
    updates = _reused(
        _updates,
        (loss, optimizer, source.draw, update_shared),
        steps_per_call,
        max_nonfinite,
        **cut,
    )
    gradient = make_gradient(loss, **cut)
    program = loop.Program(
        call=lambda state, batches, at, count, stopped: updates(
            state, batches, at, count
        ),
        evaluate=lambda params, shared: _evaluated(
            loss,
            params,
            each("valid", () if valid is None else valid),
            shared,
            valid_axis,
            mesh,
        ),
        place=functools.partial(_placed, mesh=mesh),
        failed=functools.partial(_not_finite, gradient, source),
    )
    told = {}
    if folder is not None:
        _check_no_sweep(folder)
        rule = identity.update_rule(optax.with_extra_args_support(optimizer), state)
        told = identity.about(loss, state, source.kind, optimizer=rule)
    run = loop.train(
        program,
        source,
        state,
        plan,
        folder=folder,
        told=told,
        validates=valid is not None,
        callback=callback,
        progress=progress,
    )
    params, shared = jax.tree.map(jnp.asarray, run.best)
    record = run.record
    return Fitted(run.state, params, record.best_row(), record.history, shared)


def evaluate(
    loss: Callable,
    params: Any,
    batches: Iterable,
    *,
    shared: Any = None,
    batch_axis: Any = None,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, float | None]:
    """The loss's means over all of `batches`, each token weighing the same.

    Args:
        loss: see `make_step`; it gets key None, and a carry that starts as None and flows
            from one batch to the next.
        params: the model's.
        batches: an iterable that ends.
        shared: what the loss gets as ``carry.shared`` with each batch; see `init`.
        batch_axis, mesh: see `make_step`.

    Returns:
        Name -> value; None for one that is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxrnn import train
        >>> def loss(params, carry, batch, key):
        ...     return None, {"loss": train.mean((batch - params) ** 2)}
        >>> train.evaluate(loss, 1.0, [jnp.array([3.0, 3.0]), jnp.array([1.0])])
        {'loss': 2.6666666666666665}
    """
    check_loss(loss)
    batch_axis = batch_axis_of(batches, batch_axis)
    found = _evaluated(loss, params, each("batches", batches), shared, batch_axis, mesh)
    return {name: plain(value) for name, value in found.items()}


def _evaluated(loss, params, batches, shared, batch_axis, mesh) -> dict:
    """What `evaluate` returns, as arrays, NaN where a mean is not finite."""
    forward = _reused(_forward, (loss,), batch_axis=batch_axis, mesh=mesh)
    carry, sums = None, {}
    for batch in batches:
        carry, means = forward(params, carry, shared, batch)
        add_up(sums, totals(parallel.to_host(means)))
    if not sums:
        raise ValueError(
            "batches: expected at least one, got none. A used-up iterator?"
        )
    found = {name: quotient(value) for name, value in sums.items()}
    return {
        n: np.where(np.isfinite(value), value, np.nan) for n, value in found.items()
    }


def _updates(functions, size, max_nonfinite, **cut) -> Callable:
    loss, optimizer, draw, update_shared = functions
    how = dict(max_nonfinite=max_nonfinite, update_shared=update_shared)
    step = make_step(loss, optimizer, **how, **cut)
    return jax.jit(loop.many(step, draw, size), donate_argnums=0)


def _forward(functions, **cut) -> Callable:
    return make_forward(*functions, **cut)


def _reused(make: Callable, functions: tuple, *args: Any, batch_axis: Any, **how: Any):
    """What `make` makes, one for all functions that compute the same: compiled once."""
    leaves, tree = jax.tree.flatten(batch_axis)
    named = tuple(sorted(how.items()))
    same = tuple(map(Same, functions))
    return _remembered(make, same, args, tuple(leaves), tree, named)


@functools.lru_cache(maxsize=4)
def _remembered(make, functions, args, leaves, tree: Any, named) -> Callable:
    axes = jax.tree.unflatten(tree, leaves)
    values = tuple(function.value for function in functions)
    return make(values, *args, batch_axis=axes, **dict(named))


def _check_no_sweep(folder: Any) -> None:
    path = Path(folder).expanduser()
    if path.is_dir() and any(path.glob("members-*")):
        raise ValueError(
            f"folder: {path} holds a sweep. Use another folder for a run of its own."
        )


def _placed(state: State, mesh: jax.sharding.Mesh | None) -> State:
    """A copy, as each call donates its state; on the mesh, with the carry's rows split."""
    state = jax.tree.map(jnp.copy, state)
    if mesh is None:
        return state
    (name,), parts = mesh.axis_names, parallel.size(mesh)
    for path, leaf in jax.tree.leaves_with_path(state.carry):
        if not leaf.shape or leaf.shape[0] % parts:
            raise ValueError(
                f"carry{jax.tree_util.keystr(path)}: expected a number of rows on axis 0 "
                f"that {parts} devices divide, got {list(leaf.shape)}."
            )
    spread = parallel.place(state.carry, mesh, P(name))
    return parallel.place(state._replace(carry=None), mesh, P())._replace(carry=spread)


def _not_finite(gradient, source, state, group: Group, start, home) -> NonFinite:
    """The error for the update that `state` has just skipped."""
    number = int(state.step)
    state = parallel.with_keys(parallel.to_host(state), state)
    state = state._replace(
        step=state.step - 1, skipped=state.skipped - 1, in_a_row=state.in_a_row - 1
    )
    batch = source.batch(group, number - 1 - start, state)
    path = None
    if home is not None:
        path = home.path / f"nonfinite-{number}"
        while path.exists():
            path = path.with_name(path.name + ".again")
        try:
            write_tree(path, (state, batch))
        except Exception:  # no room for it: the error holds them all the same
            path = None
    return NonFinite(number, first_bad(gradient, state, batch), state, batch, path)

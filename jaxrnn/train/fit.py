"""Training one model: `fit`."""

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from jaxrnn.train import identity, parallel
from jaxrnn.train.batches import batch_axis_of, check_rows, check_valid, each
from jaxrnn.train.checks import check_count
from jaxrnn.train.evaluate import evaluated
from jaxrnn.train.feed import source_of
from jaxrnn.train.gradient import make_gradient
from jaxrnn.train.hooks import Hook
from jaxrnn.train.loop import Plan, Program, many
from jaxrnn.train.nonfinite import explain
from jaxrnn.train.run import Run, train
from jaxrnn.train.same import reused
from jaxrnn.train.state import State, check_state
from jaxrnn.train.step import make_step


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
    hooks: Sequence[Hook] = (),
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
        hooks: what is called every so many updates, with a copy of the state: a list of
            ``every(updates, call)``; see `every`.
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
    plan = Plan.checked(
        steps=steps,
        steps_per_call=steps_per_call,
        log_every=log_every,
        save_every=save_every,
        valid_every=valid_every,
        patience=patience,
        keep=keep,
        max_nonfinite=max_nonfinite,
    )
    options = _checked_options(state, data, valid, accumulate, batch_axis, mesh)
    source = source_of(data, steps_per_call, options["batch_axis"], mesh)
    program = Program(
        call=_updates(loss, optimizer, source, update_shared, plan, options),
        evaluate=_validation(loss, valid, batch_axis, mesh),
        place=functools.partial(_placed, mesh=mesh),
        seen=functools.partial(jax.tree.map, jnp.copy),
        explain=functools.partial(explain, make_gradient(loss, **options), source),
    )
    run = train(
        program,
        source,
        state,
        plan,
        folder=folder,
        description=_description(folder, loss, optimizer, state, source),
        hooks=hooks,
        callback=callback,
        progress=progress,
    )
    return _fitted(run)


def _fitted(run: Run) -> Fitted:
    params, shared = jax.tree.map(jnp.asarray, run.best)
    record = run.record
    return Fitted(run.state, params, record.best_row(), record.history, shared)


def _checked_options(state, data, valid, accumulate, batch_axis, mesh) -> dict:
    """How each batch is cut: options of `make_step`, checked with what they cut."""
    parallel.check_mesh(mesh)
    check_state(state)
    check_count("accumulate", accumulate)
    if valid is not None:
        check_valid(valid)
    batch_axis = batch_axis_of(data, batch_axis)
    check_rows(data, batch_axis, accumulate * parallel.size(mesh))
    return dict(accumulate=accumulate, batch_axis=batch_axis, mesh=mesh)


def _updates(loss, optimizer, source, update_shared, plan, options) -> Callable:
    """The `call` of a `Program`: one model has no other that goes on when it stops."""
    functions = loss, optimizer, source.draw, update_shared
    counts = plan.steps_per_call, plan.max_nonfinite
    call = reused(_compiled, functions, *counts, **options)
    return lambda state, batches, at, count, stopped: call(state, batches, at, count)


def _compiled(functions, size, max_nonfinite, **options) -> Callable:
    loss, optimizer, draw, update_shared = functions
    options |= dict(max_nonfinite=max_nonfinite, update_shared=update_shared)
    step = make_step(loss, optimizer, **options)
    return jax.jit(many(step, draw, size), donate_argnums=0)


def _validation(loss, valid, batch_axis, mesh) -> Callable | None:
    """The `evaluate` of a `Program`."""
    if valid is None:
        return None
    axis = batch_axis_of(valid, batch_axis)
    return lambda params, shared: evaluated(
        loss, params, each("valid", valid), shared, axis, mesh
    )


def _description(folder, loss, optimizer, state, source) -> dict:
    """What the run is, for its folder."""
    if folder is None:
        return {}
    path = Path(folder).expanduser()
    if path.is_dir() and any(path.glob("members-*")):
        raise ValueError(
            f"folder: {path} holds a sweep. Use another folder for a run of its own."
        )
    rule = identity.update_rule(optax.with_extra_args_support(optimizer), state)
    return identity.describe(loss, state, source.kind, optimizer=rule)


def _placed(state: State, mesh: jax.sharding.Mesh | None) -> State:
    """A copy, as each call donates its state; on the mesh, with the carry's rows split."""
    state = jax.tree.map(jnp.copy, state)
    if mesh is None:
        return state
    (name,), devices = mesh.axis_names, parallel.size(mesh)
    for path, leaf in jax.tree.leaves_with_path(state.carry):
        if not leaf.shape or leaf.shape[0] % devices:
            raise ValueError(
                f"carry{jax.tree_util.keystr(path)}: expected a number of rows on axis 0 "
                f"that {devices} devices divide, got {list(leaf.shape)}."
            )
    spread = parallel.place(state.carry, mesh, P(name))
    return parallel.place(state._replace(carry=None), mesh, P())._replace(carry=spread)

"""The loop around `make_step`: many updates a call, rows, checkpoints, and a way out."""

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxrnn.train import parallel
from jaxrnn.train.checkpoint import Folder, first, write_tree
from jaxrnn.train.feed import Drawn, Fed, Group, begun, drawn
from jaxrnn.train.nonfinite import NonFinite, first_bad
from jaxrnn.train.progress import bar
from jaxrnn.train.record import Record, add_up, divided
from jaxrnn.train.step import (
    State,
    check_count,
    make_forward,
    make_gradient,
    make_step,
)


class Fitted(NamedTuple):
    """What `fit` returns.

    Fields:
        state: after the last update.
        params: the best by validation loss; without validation the last.
        best: the row of that validation, or None.
        history: all rows, those of `metrics.jsonl`; from before a resume too (in the
            first process, if there are several).
    """

    state: State
    params: Any
    best: dict | None
    history: list[dict]


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
    batch_axis: Any = 1,
    mesh: jax.sharding.Mesh | None = None,
    max_nonfinite: int = 5,
    callback: Callable | None = None,
    progress: bool = True,
) -> Fitted:
    """Trains from `state` until its step is `steps`, or on from where a folder stands.

    With a `folder`, calling it again is resuming: a run that was killed at any moment and
    called again ends with the same params, optimizer state and ``metrics.jsonl``, bit for
    bit, as one that was not. SIGTERM saves and leaves by ``SystemExit(143)``.

    Args:
        loss, optimizer: see `make_step`.
        state: from `init`.
        data: ``(key) -> batch``, drawn on the device inside the compiled loop, each update
            from a key of its own; or an iterable of batches, such as `arrays`, `streams`
            and `buckets` make, begun anew, as it was, when it ends. To resume, its
            iterator needs ``get_state`` and ``set_state``, as grain's have; a list is fine.
        steps: updates in all, resumed ones included.
        steps_per_call: updates in one compiled call, as many as have batches of one shape.
            About twice that many batches lie in memory at a time. A call compiles once in
            a process for one loss, optimizer and data function: as under `jax.jit`, what
            these read from outside is read then.
        log_every: updates in a row of the history; None: as `steps_per_call`. A row is the
            mean over all of them, weighted as the loss says.
        valid: batches to validate on, gone through anew each time; the carry starts as
            None and flows from one to the next. The loss gets key None.
        valid_every: updates between validations; None: as `save_every`.
        patience: stop after so many validations in a row without a better loss; None:
            never.
        folder: for checkpoints, ``metrics.jsonl`` and ``timing.jsonl``; None: nothing is
            written.
        save_every: updates between checkpoints; None: 10 calls. The last is saved too.
        keep: how many checkpoints stay.
        accumulate, batch_axis, mesh: see `make_step`; ``mesh=train.data_mesh()`` is all
            that it takes to use every device. Batches are whole: every process is given
            all rows.
        max_nonfinite: skipped updates in a row after which it stops.
        callback: called with each row, a dict, in the first process.
        progress: a bar in the terminal.

    Returns:
        `Fitted`. Rows are ``{"step", "split": "train" or "valid", "loss", ...}`` with
        the loss's means by name; ``skipped`` counts over the whole run.

    Raises:
        ValueError: for options that do not fit, or a loss that breaks its contract.
        NonFinite: after `max_nonfinite` skipped updates in a row.
        OSError: if the folder is in use, or cannot be written to. What was saved stays.

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
    save_every = 10 * steps_per_call if save_every is None else save_every
    valid_every = save_every if valid_every is None else valid_every
    log_every = steps_per_call if log_every is None else log_every
    _check_counts(
        steps=steps,
        steps_per_call=steps_per_call,
        log_every=log_every,
        save_every=save_every,
        valid_every=valid_every,
        keep=keep,
        max_nonfinite=max_nonfinite,
        patience=1 if patience is None else patience,
    )
    parallel.check_mesh(mesh)
    if patience is not None and valid is None:
        raise ValueError("patience: expected `valid` too, to see what is better.")
    source = (
        Drawn(data) if callable(data) else Fed(data, steps_per_call, batch_axis, mesh)
    )
    if folder is not None and not source.seekable:
        raise ValueError(
            "data: expected an iterator with get_state and set_state, so that a run with "
            "a folder can resume. Grain's datasets and lists of batches have them."
        )
    gradient = make_gradient(
        loss, accumulate=accumulate, batch_axis=batch_axis, mesh=mesh
    )
    call = _reused(
        _updates,
        loss,
        optimizer,
        source.draw,
        steps_per_call,
        accumulate,
        mesh,
        max_nonfinite,
        batch_axis=batch_axis,
    )
    record = Record(log_every, callback, write=first())
    state = _placed(state, mesh)
    best = jax.tree.map(jnp.copy, state.params)
    ends = [save_every] * (folder is not None) + [valid_every] * (valid is not None)

    def take(at):
        """A group that ends where something must happen, or before."""
        most = min(steps_per_call, steps - at, *(e - at % e for e in ends))
        return source.take(most) if most > 0 else None

    with contextlib.ExitStack() as stack:
        home, terminated = None, lambda: False
        if folder is not None:
            home = stack.enter_context(Folder(folder, keep))
            terminated = stack.enter_context(_sigterm())
            saved = home.restore((state, best))
            if saved is None:
                notes = dict(data=source.position, record=record.notes())
                home.save(int(state.step), (state, best), **notes)
            else:
                state, best = _placed(saved.tree[0], mesh), saved.tree[1]
                source.seek(saved.notes["data"])
                record.restore(saved.notes["record"])
            stack.callback(record.close)
            record.open(home.path, int(state.step))
        at = int(state.step)
        if int(state.in_a_row) >= max_nonfinite:
            raise ValueError(
                f"state: {int(state.in_a_row)} updates in a row were skipped already, and "
                f"max_nonfinite is {max_nonfinite}. state._replace(in_a_row=0) goes on."
            )
        tell = stack.enter_context(bar(steps, at, show=progress and first()))
        ended = at >= steps or (patience is not None and record.waited >= patience)
        group = None if ended else take(at)
        while group:
            start, began = at, time.perf_counter()
            state, means = call(state, group.stacked, at, group.count)
            # The next batches are fetched while the device is at work.
            following, failed = _attempt(take, at + group.count)
            means, halted = parallel.to_host((means, state.in_a_row >= max_nonfinite))
            at = int(state.step)
            with parallel.together():
                tell(at, **record.add(start, at, means, time.perf_counter() - began))
                if at == steps:
                    record.flush(at)
            if halted:
                raise _not_finite(gradient, state, source, group, start, home)
            if valid is not None and (at % valid_every == 0 or at == steps):
                found = evaluate(
                    loss, state.params, valid, batch_axis=batch_axis, mesh=mesh
                )
                with parallel.together():
                    better = record.validated(at, found)
                if better:
                    best = jax.tree.map(jnp.copy, state.params)
                if patience is not None and record.waited >= patience:
                    following = failed = None
                    record.flush(at)
            stop = parallel.agree(terminated())
            if home is not None and (stop or at % save_every == 0 or not following):
                notes = dict(data=group.position, record=record.notes())
                home.save(at, (state, best), **notes)
            if stop:
                break
            if failed is not None:
                raise failed
            group = following
        if parallel.agree(terminated()):
            raise SystemExit(128 + signal.SIGTERM)
    params = state.params if valid is None else jax.tree.map(jnp.asarray, best)
    return Fitted(state, params, record.best, record.history)


def evaluate(
    loss: Callable,
    params: Any,
    batches: Iterable,
    *,
    batch_axis: Any = 1,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, float | None]:
    """The loss's means over all of `batches`, each token weighing the same.

    Args:
        loss: see `make_step`; it gets key None, and a carry that starts as None and flows
            from one batch to the next.
        params: the model's.
        batches: an iterable that ends.
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
    forward = _reused(_forward, loss, mesh, batch_axis=batch_axis)
    carry, sums = None, {}
    for batch in begun(batches):
        carry, means = forward(params, carry, batch)
        add_up(sums, parallel.to_host(means))
    if not sums:
        raise ValueError(
            "batches: expected at least one, got none. A used-up iterator?"
        )
    return divided(sums)


def many(step: Callable, draw: Callable | None, size: int) -> Callable:
    """``(state, batches, start, count) -> (state, means)``: updates in one loop.

    How many is no part of the program, so the bits of a run do not depend on where calls
    end. `batches` and `means` are trees of [room, ...]; with `draw`, `batches` is None and
    the room is `size`. `start` is the step of the state.
    """

    def call(state, batches, start, count):
        def one(state, i):
            if draw is not None:
                return step(state, drawn(draw, state.key, start + i))
            return step(state, jax.tree.map(lambda a: a[i], batches))

        _, like = jax.eval_shape(one, state, 0)
        room = size if batches is None else jax.tree.leaves(batches)[0].shape[0]
        rows = jax.tree.map(lambda a: jnp.zeros((room, *a.shape), a.dtype), like)

        def body(i, loop):
            state, means = one(loop[0], i)
            return state, jax.tree.map(lambda r, m: r.at[i].set(m), loop[1], means)

        return lax.fori_loop(0, count, body, (state, rows))

    return call


def _updates(
    loss, optimizer, draw, size, accumulate, mesh, max_nonfinite, *, batch_axis
):
    step = make_step(
        loss,
        optimizer,
        accumulate=accumulate,
        batch_axis=batch_axis,
        mesh=mesh,
        max_nonfinite=max_nonfinite,
    )
    return jax.jit(many(step, draw, size), donate_argnums=0)


def _forward(loss, mesh, *, batch_axis):
    return make_forward(loss, batch_axis=batch_axis, mesh=mesh)


def _reused(make: Callable, *args: Any, batch_axis: Any) -> Callable:
    """What `make` makes, the same for the same arguments: compiled once a process."""
    leaves, tree = jax.tree.flatten(batch_axis)
    try:
        return _remembered(make, args, tuple(leaves), tree)
    except TypeError:  # a loss that cannot be hashed
        return make(*args, batch_axis=batch_axis)


@functools.lru_cache(maxsize=4)
def _remembered(make: Callable, args: tuple, leaves: tuple, tree: Any) -> Callable:
    return make(*args, batch_axis=jax.tree.unflatten(tree, leaves))


def _attempt(f: Callable, *args: Any) -> tuple[Any, Exception | None]:
    """``(result, None)``, or ``(None, error)`` for whoever needs the result."""
    try:
        return f(*args), None
    except Exception as error:
        return None, error


def _check_counts(**counts: Any) -> None:
    for name, value in counts.items():
        check_count(name, value)


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


def _not_finite(gradient, state, source, group: Group, start, home) -> NonFinite:
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
        if _attempt(write_tree, path, (state, batch))[1] is not None:
            path = None  # no room for it: the error holds them all the same
    return NonFinite(number, first_bad(gradient, state, batch), state, batch, path)


@contextlib.contextmanager
def _sigterm() -> Iterator[Callable]:
    """A function that tells whether SIGTERM came, which then does nothing else."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()

    def note(*_):
        came.set()
        signal.signal(signal.SIGTERM, before)  # a second one ends what hangs

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGTERM, before)

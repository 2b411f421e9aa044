"""A population of trainings in one compiled program: hyperparameters as arrays."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

from jaxrnn.extra import need
from jaxrnn.train import identity, loop, parallel
from jaxrnn.train.feed import Drawn, Fed, batch_axis_of, check_rows, check_valid, each
from jaxrnn.train.parallel import to_host
from jaxrnn.train.record import add_up, quotient, totals
from jaxrnn.train.step import (
    Carry,
    State,
    check_count,
    check_function,
    make_step,
    returned,
)


class Trial(NamedTuple):
    """One member of a population: the first three arguments of `fit`."""

    loss: Callable
    optimizer: optax.GradientTransformation
    state: State


class Swept(NamedTuple):
    """What `sweep` returns: arrays with one entry per member, N of them.

    Fields:
        hypers: name -> [N].
        state: a `State` of [N, ...] after the last update.
        params: [N, ...], of each member's best validation; without one its last.
        shared: the shared state at `params`.
        steps: int [rows], where the rows of `means` end.
        means: name -> [N, rows]; NaN where a member made no update.
        valid: name -> [N], of each member's best validation; empty without validation.
        history: all rows, those of ``metrics.jsonl``; see `sweep`.
    """

    hypers: dict[str, np.ndarray]
    state: State
    params: Any
    shared: Any
    steps: np.ndarray
    means: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    history: list[dict]

    def order(self, name: str = "loss") -> np.ndarray:
        """Members from the least to the greatest final value of a mean, NaN last.

        Of the best validation if there was one.
        """
        return np.argsort(self._final(name), kind="stable")

    def member(self, number: int) -> State:
        """One member's state."""
        return jax.tree.map(lambda a: a[number], self.state)

    def table(self, most: int = 10) -> Any:
        """A ``rich.table.Table`` of the `most` best members; ``print`` shows it.

        Means are those of the best validation, or of the last row without one; "steps"
        says how many updates a member made.
        """
        names = list(self.valid or self.means)
        heads = [f"valid {name}" if self.valid else name for name in names]
        heads = [*self.hypers, *heads, "steps", "skipped"]
        column = need("rich.table").Column
        table = _printed_table()(*(column(head, overflow="fold") for head in heads))
        finals = {name: self._final(name) for name in names}
        for n in self.order()[:most]:
            chosen = [f"{values[n]:.4g}" for values in self.hypers.values()]
            found = [f"{values[n]:.4g}" for values in finals.values()]
            counts = [str(int(self.state.step[n])), str(int(self.state.skipped[n]))]
            table.add_row(*chosen, *found, *counts)
        return table

    def _final(self, name: str) -> np.ndarray:
        return self.valid[name] if self.valid else self.means[name][:, -1]


def sweep(
    trial: Callable,
    hypers: Mapping[str, Any],
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
    at_a_time: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    max_nonfinite: int = 5,
    update_shared: Callable | None = None,
    callback: Callable | None = None,
    progress: bool = True,
) -> Swept:
    """Trains one model for each entry of `hypers`, all at once by `vmap`.

    Each member gets the result that `fit` would give for its own trial. A member stops
    after `max_nonfinite` skipped updates in a row, or after `patience` validations without
    improvement. Its state then stays unchanged, and the other members continue.

    Args:
        trial: ``(hyper) -> Trial``, where `hyper` has a traced scalar for each name:
            learning rate, forget bias, seed, or anything that a cell, a loss or an
            optimizer closes over. Shapes must not depend on them.
        hypers: name -> [N]; `grid` and `random_search` make them.
        data: ``(key) -> batch``: each member draws with its own state's key, and members
            with the same key share one draw. Or an iterable of batches that all share.
        steps, steps_per_call, log_every, save_every, keep, callback, progress: see `fit`.
            In a row each number is a list with one entry per member, and "members" is
            the range of members, its end excluded.
        valid, valid_every, patience: see `fit`; each member has its own best.
        folder: see `fit`. Each slice of the population has a folder in it,
            ``members-0-8`` for the first eight, and a sweep that was killed goes on in
            the slice where it was.
        accumulate, batch_axis, update_shared: see `make_step`.
        at_a_time: how many members are trained together; None: all. The last slice is
            padded with copies, so that all slices use one program.
        mesh: of one axis, over which members are split; None: one device.
        max_nonfinite: see above.

    Returns:
        `Swept`, arrays on the host.

    Raises:
        ValueError: for hyperparameters that are no numbers or of unlike lengths, a trial
            that is none, or a folder of another sweep.

    Example:
        >>> import jax, jaxrnn, optax
        >>> from jaxrnn import train
        >>> def draw(key):
        ...     return jax.random.normal(key, (5, 8, 1))
        >>> def trial(hyper):
        ...     cell = jaxrnn.lstm(4, forget_bias=hyper["forget_bias"])
        ...     def loss(params, carry, xs, key):
        ...         carry_end, _ = jaxrnn.unroll(cell, params, carry, xs)
        ...         errors = carry_end.h.sum(-1) - xs.mean((0, 2))
        ...         return None, {"loss": train.mean(errors**2)}
        ...     optimizer = optax.adam(hyper["rate"])
        ...     params = cell.init(jax.random.key(hyper["seed"]), features=1)
        ...     return train.Trial(loss, optimizer, train.init(params, optimizer, key))
        >>> key = jax.random.key(0)
        >>> hypers = train.grid(rate=[1e-4, 1e-2], forget_bias=[0.0, 2.0], seed=range(2))
        >>> swept = train.sweep(trial, hypers, draw, steps=100, progress=False)
        >>> swept.means["loss"].shape, float(swept.hypers["rate"][swept.order()[0]])
        ((8, 2), 0.01)
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
    check_count("accumulate", accumulate)
    if valid is not None:
        check_valid(valid)
    check_function("trial", trial, "hyper")
    batch_axis = batch_axis_of(data, batch_axis)
    check_rows(data, batch_axis, accumulate)
    hypers = _checked(hypers)
    total = len(next(iter(hypers.values())))
    size = total if at_a_time is None else at_a_time
    check_count("at_a_time", size)
    size = min(size, total)
    size += -size % parallel.size(mesh)
    starts = range(0, total, size)
    if len(starts) > 1 and hasattr(data, "__next__"):
        raise ValueError(
            f"data: expected batches that every slice of {size} members can go "
            "through anew, got an iterator. Give a list or a grain dataset."
        )
    slices = {start: f"members-{start}-{min(start + size, total)}" for start in starts}
    folders = _folders(folder, list(slices.values()))
    how: dict[str, Any] = dict(accumulate=accumulate, batch_axis=batch_axis)
    how["update_shared"] = update_shared
    programs = _programs(trial, hypers, data, plan, mesh, **how)
    runs = []
    for start, name in slices.items():
        count = min(size, total - start)
        chosen = np.minimum(np.arange(start, start + size), total - 1)
        some = {hyper: values[chosen] for hyper, values in hypers.items()}
        source = Drawn(data) if callable(data) else Fed(data, steps_per_call, 0, None)
        state = programs.start(some)
        given = {hyper: values[:count].tolist() for hyper, values in some.items()}
        run = loop.train(
            programs.bound(some, valid, (start, start + count)),
            source,
            state,
            plan,
            folder=None if folder is None else folders / name,
            told=identity.about(trial, state, source.kind, hypers=given),
            validates=valid is not None,
            callback=callback,
            progress=progress,
        )
        pattern = programs.whole(run.state)
        runs.append((run, to_host((pattern, *run.best))))
    return _swept(hypers, runs, pattern, total)


def _swept(hypers: dict, runs: list, pattern: State, total: int) -> Swept:
    """One population of the runs of all slices."""
    join = lambda *parts: np.concatenate(parts)[:total]
    state, params, shared = jax.tree.map(join, *(arrays for _, arrays in runs))
    validated = [name for run, _ in runs for name in run.record.best]
    names = dict.fromkeys(name for name in validated if name != "step")
    never = lambda run: np.full(run.program.members, np.nan)
    history = [row for run, _ in runs for row in run.record.history]
    rows = [row for row in history if row["split"] == "train"]
    steps = np.unique(np.array([row["step"] for row in rows], int))
    means = {}
    for name in rows[0] if rows else ():
        if name not in ("step", "split", "members", "weight", "skipped", "empty"):
            means[name] = np.full((total, len(steps)), np.nan)
            for row in rows:
                where = slice(*row["members"]), np.searchsorted(steps, row["step"])
                means[name][where] = np.array(row[name], float)
    return Swept(
        hypers=hypers,
        state=parallel.with_keys(state, pattern),
        params=params,
        shared=shared,
        steps=steps,
        means=means,
        valid={
            name: join(*(run.record.best.get(name, never(run)) for run, _ in runs))
            for name in names
        },
        history=history,
    )


def _folders(folder: Any, names: list[str]) -> Path:
    """The folder of a sweep, which must hold no other's slices."""
    path = Path(folder or ".").expanduser()
    if folder is not None and path.is_dir():
        others = {p.name for p in path.glob("members-*")} - set(names)
        others |= {p.name for p in path.glob("checkpoints")}
        if others:
            raise ValueError(
                f"folder: {path} holds another run: expected {', '.join(names)} or "
                f"nothing, got {', '.join(sorted(others))}. Give the same hypers and "
                "at_a_time, or use another folder."
            )
    return path


def grid(**axes: Iterable) -> dict[str, np.ndarray]:
    """Every combination of the values of each axis, for `sweep`.

    Args:
        axes: name -> values.

    Returns:
        name -> [N], the last axis varying fastest; N is the product of the lengths.

    Example:
        >>> from jaxrnn import train
        >>> train.grid(rate=[0.1, 0.2], seed=range(2))["rate"].tolist()
        [0.1, 0.1, 0.2, 0.2]
    """
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(
                f"{name}: expected numbers, got {values!r}. A single one is written "
                f"{name}=[0.1]."
            )
    combinations = list(itertools.product(*(list(values) for values in axes.values())))
    if not axes or not combinations:
        raise ValueError(
            "grid: expected at least one axis, and a value on each, got none."
        )
    columns = zip(*combinations, strict=True)
    return _checked(dict(zip(axes, map(list, columns), strict=True)))


def random_search(key: jax.Array, members: int, **axes: Any) -> dict[str, np.ndarray]:
    """Independent draws of each hyperparameter, for `sweep`.

    Bergstra and Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html: where few of
    many hyperparameters matter, random beats a grid.

    Args:
        key: a PRNG key.
        members: N.
        axes: name -> `uniform`, `log_uniform`, `choice`, or N values as they are, such as
            ``seed=range(N)``.

    Returns:
        name -> [N].

    Example:
        >>> import jax
        >>> from jaxrnn import train
        >>> key = jax.random.key(0)
        >>> hypers = train.random_search(
        ...     key, 3, rate=train.log_uniform(1e-4, 1e-1), seed=range(3)
        ... )
        >>> hypers["rate"].shape, hypers["seed"].tolist()
        ((3,), [0, 1, 2])
    """
    check_count("members", members)
    if not axes:
        raise ValueError("random_search: expected at least one axis, got none.")
    keys = jax.random.split(key, len(axes))
    found = {
        name: axis(k, members) if callable(axis) else list(axis)
        for k, (name, axis) in zip(keys, axes.items(), strict=True)
    }
    return _checked(found, members)


def uniform(low: float, high: float) -> Callable:
    """Uniform in [low, high), for `random_search`."""
    return lambda key, n: jax.random.uniform(key, (n,), minval=low, maxval=high)


def log_uniform(low: float, high: float) -> Callable:
    """Uniform in the logarithm from `low` to `high`, both above 0, for `random_search`.

    Raises:
        ValueError: unless 0 < low < high.
    """
    if not 0 < low < high:
        raise ValueError(f"log_uniform: expected 0 < low < high, got {low}, {high}.")
    logs = uniform(np.log(low), np.log(high))
    return lambda key, n: jnp.exp(logs(key, n))


def choice(values: Iterable) -> Callable:
    """One of `values`, each as likely, for `random_search`."""
    values = jnp.asarray(list(values))
    return lambda key, n: jax.random.choice(key, values, (n,))


class _Programs(NamedTuple):
    """The compiled parts of a sweep.

    Fields:
        start: ``(hypers) -> state``, all [members, ...], but the key if all share one.
        call: ``(hypers, state, stopped, batches, at, count) -> (state, means)``; means
            are [updates, members].
        validate: ``(hypers, params, shared, batches) -> {name: [members]}``.
        whole: ``(state) -> state`` with a key for each member.
    """

    start: Callable
    call: Callable
    validate: Callable
    whole: Callable

    def bound(self, some: dict, valid: Any, numbers: tuple) -> loop.Program:
        """What a run of the members with hyperparameters `some` calls."""
        return loop.Program(
            call=lambda state, batches, at, count, stopped: self.call(
                some, state, stopped, batches, at, count
            ),
            evaluate=lambda *of: self.validate(some, *of, valid),
            place=lambda state: jax.tree.map(jnp.copy, state),
            failed=None,
            members=(len(next(iter(some.values()))),),
            numbers=numbers,
        )


def _programs(trial, hypers, data, plan, mesh, **how) -> _Programs:
    def tried(hyper):
        made = trial(hyper)
        if not isinstance(made, Trial) or not isinstance(made.state, State):
            raise ValueError(
                f"trial: expected it to return a train.Trial, got {made!r}. "
                "train.Trial(loss, optimizer, train.init(params, optimizer, key))"
            )
        return made

    # Members with one key read the same data: drawn once, outside of the population.
    keys = jax.jit(jax.vmap(lambda hyper: tried(hyper).state.key))(hypers)
    data_of = parallel.to_host(keys)
    shared = bool((data_of == data_of[0]).all())
    axes: Any = State._make([0] * len(State._fields))._replace(
        key=None if shared else 0
    )

    def start(hyper):
        state = tried(hyper).state
        return state._replace(key=None) if shared else state

    def call(hyper, state, stopped, batches, at, count):
        made = tried(hyper)
        most = plan.max_nonfinite
        step = make_step(made.loss, made.optimizer, max_nonfinite=most, **how)
        if plan.patience is not None:
            step = _unless(stopped, step)
        draw = data if callable(data) else None
        return loop.many(step, draw, plan.steps_per_call)(state, batches, at, count)

    def validate(hyper, params, carry, shared, batch):
        flow = carry if shared is None else Carry(carry, shared)
        flow, means = returned(tried(hyper).loss, params, flow, batch, None)
        return flow if shared is None else flow.rows, means

    def compiled(f, in_axes, out_axes, donate=()):
        f = jax.vmap(f, in_axes, out_axes)
        if mesh is not None:
            (name,) = mesh.axis_names
            spec = lambda axis: P() if axis is None else P(*[None] * axis, name)
            specs = lambda axes: jax.tree.map(spec, axes, is_leaf=lambda a: a is None)
            # Members never meet, so there is nothing to check between devices.
            how = dict(mesh=mesh, in_specs=specs(in_axes), out_specs=specs(out_axes))
            f = jax.shard_map(f, **how, check_vma=False)
        return jax.jit(f, donate_argnums=donate)

    begin = compiled(start, (0,), axes._replace(key=None) if shared else axes)
    go = compiled(call, (0, axes, 0, None, None, None), (axes, 1), donate=1)
    check = compiled(validate, (0, 0, 0, 0, None), (0, 0))

    def started(some):
        return begin(some)._replace(key=keys[0]) if shared else begin(some)

    def validated(some, params, shared, batches):
        carry, sums = None, {}
        for batch in each("valid", batches):
            carry, means = check(some, params, carry, shared, batch)
            add_up(sums, totals(to_host(means)))
        if not sums:
            raise ValueError("valid: expected at least one batch, got none.")
        found = {name: quotient(value) for name, value in sums.items()}
        return {name: np.where(np.isfinite(v), v, np.nan) for name, v in found.items()}

    def whole(state):
        if not shared:
            return state
        count = (len(state.step), *state.key.shape)  # a key may be an array itself
        return state._replace(key=jnp.broadcast_to(state.key, count))

    return _Programs(started, go, validated, whole)


def _unless(stopped: jax.Array, step: Callable) -> Callable:
    """`step` for a member that has not stopped; of one that has, nothing changes."""

    def call(state, batch):
        new, means = step(state, batch)
        kept = jax.tree.map(lambda a, b: jnp.where(stopped, a, b), state, new)
        kept = kept._replace(key=state.key)  # which members may share
        return kept, jax.tree.map(lambda a: jnp.where(stopped, 0, a), means)

    return call


def _checked(hypers: Mapping[str, Any], members: int | None = None) -> dict:
    """As NumPy arrays of one length."""
    if not isinstance(hypers, Mapping) or not hypers:
        raise ValueError(
            "hypers: expected name -> values for at least one hyperparameter, got "
            f"{hypers!r}. train.grid(rate=[1e-3, 1e-2]) makes one."
        )
    arrays = {}
    for name, values in hypers.items():
        try:
            array = np.asarray(values)
        except ValueError:  # ragged lists
            array = np.empty(1, object)
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"hypers[{name!r}]: expected numbers, got {values!r}. Each member is "
                "traced with a number; for a choice of another kind, such as a cell, "
                "run a sweep for each."
            )
        members = len(array) if members is None and array.ndim else members
        if array.ndim != 1 or not len(array) or len(array) != members:
            raise ValueError(
                f"hypers[{name!r}]: expected [{members or 'N'}], one value per member, "
                f"got {list(array.shape)}."
            )
        arrays[name] = array
    return arrays


def _printed_table() -> type:
    """``rich.table.Table`` with a ``str`` that is the table."""
    rich = need("rich.table")
    console = need("rich.console").Console

    class Table(rich.Table):
        def __str__(self) -> str:
            width = console(width=10_000).measure(self).maximum  # nothing is cut off
            paper = console(width=width)
            with paper.capture() as captured:
                paper.print(self)
            return captured.get()

    return Table

"""A population of trainings in one compiled program: hyperparameters as arrays."""

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

from jaxrnn.extra import need
from jaxrnn.train import parallel
from jaxrnn.train.feed import Drawn, Fed, begun
from jaxrnn.train.fit import many
from jaxrnn.train.parallel import to_host
from jaxrnn.train.progress import bar
from jaxrnn.train.step import State, check_count, check_means, make_step


class Trial(NamedTuple):
    """One member of a population: the first three arguments of `fit`."""

    loss: Callable
    optimizer: optax.GradientTransformation
    state: State


class Swept(NamedTuple):
    """What `sweep` returns: arrays with one entry a member, N of them.

    Fields:
        hypers: name -> [N].
        state: a `State` of [N, ...] after the last update.
        steps: int [rows], where the rows of `means` end.
        means: name -> [N, rows]; NaN where every update was skipped.
        valid: name -> [N], of the validation batches; empty without them.
    """

    hypers: dict[str, np.ndarray]
    state: State
    steps: np.ndarray
    means: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]

    def order(self, name: str = "loss") -> np.ndarray:
        """Members from the least to the greatest final value of a mean, NaN last.

        Of the validation if there was one.
        """
        return np.argsort(self._final(name), kind="stable")

    def member(self, number: int) -> State:
        """One member's state."""
        return jax.tree.map(lambda a: a[number], self.state)

    def table(self, most: int = 10) -> Any:
        """A ``rich.table.Table`` of the `most` best members, to be printed by rich."""
        names = list(self.valid or self.means)
        table = need("rich.table").Table(*self.hypers, *names, "skipped")
        finals = {name: self._final(name) for name in names}
        for n in self.order()[:most]:
            chosen = [f"{values[n]:.4g}" for values in self.hypers.values()]
            found = [f"{values[n]:.4g}" for values in finals.values()]
            table.add_row(*chosen, *found, str(int(self.state.skipped[n])))
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
    at_a_time: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    max_nonfinite: int = 5,
    progress: bool = True,
) -> Swept:
    """Trains one model for each entry of `hypers`, all at once by `vmap`.

    Each member is what `fit` would make of its own trial. One that diverges stays as it
    was after `max_nonfinite` skipped updates in a row, and hinders no other.

    Args:
        trial: ``(hyper) -> Trial``, where `hyper` has a traced scalar for each name:
            learning rate, forget bias, seed, or anything that a cell, a loss or an
            optimizer closes over. Shapes must not depend on them.
        hypers: name -> [N]; `grid` and `random_search` make them.
        data: ``(key) -> batch``, drawn by each member from its state's key, once for all
            if they have the same; or an iterable of batches, the same for all.
        steps, steps_per_call: see `fit`.
        log_every: updates in a row of `Swept.means`; None: as `steps_per_call`.
        valid: batches to validate on in the end; see `evaluate`.
        at_a_time: how many members are trained together; None: all. The last slice is
            filled up with copies, so that one program serves all.
        mesh: of one axis, over which members are split; None: one device.
        max_nonfinite: see above.
        progress: a bar in the terminal.

    Returns:
        `Swept`, arrays on the host.

    Raises:
        ValueError: for hyperparameters of unlike lengths, or a trial that is none.

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
    log_every = steps_per_call if log_every is None else log_every
    counts = dict(steps=steps, steps_per_call=steps_per_call, log_every=log_every)
    for name, value in {**counts, "max_nonfinite": max_nonfinite}.items():
        check_count(name, value)
    parallel.check_mesh(mesh)
    hypers = _checked(hypers)
    total = len(next(iter(hypers.values())))
    size = total if at_a_time is None else min(at_a_time, total)
    check_count("at_a_time", size)
    size += -size % parallel.size(mesh)
    slices = -(-total // size)
    for name, batches in {"data": data, "valid": valid}.items():
        if slices > 1 and hasattr(batches, "__next__"):
            raise ValueError(
                f"{name}: expected batches that every slice of {size} members can go "
                "through anew, got an iterator. Give a list or a grain dataset."
            )
    programs = _programs(trial, hypers, data, steps_per_call, mesh, max_nonfinite)
    results = []
    with bar(steps * slices, 0, progress and jax.process_index() == 0) as tell:
        for number in range(slices):
            chosen = np.minimum(
                np.arange(number * size, (number + 1) * size), total - 1
            )
            some = {name: values[chosen] for name, values in hypers.items()}
            source = (
                Drawn(data) if callable(data) else Fed(data, steps_per_call, 0, None)
            )
            state, at, kept = programs.start(some), 0, []
            while at < steps:
                group = source.take(min(steps_per_call, steps - at))
                state, means = programs.call(
                    some, state, group.stacked, at, group.count
                )
                part = slice(group.count)
                kept.append(jax.tree.map(operator.itemgetter(part), to_host(means)))
                at += group.count
                losses = _quotient(kept[-1]["loss"])
                losses = losses[np.isfinite(losses)]
                loss = f"{np.median(losses):.4f}" if losses.size else "not finite"
                tell(number * steps + at, loss=loss)
            found = (
                {} if valid is None else programs.validate(some, state.params, valid)
            )
            whole = jax.tree.map(lambda *parts: np.concatenate(parts), *kept)
            rows = jax.tree.map(lambda a: _windows(a, log_every), whole)
            pattern = programs.whole(state)
            results.append((to_host(pattern), rows, found))
    state, rows, found = jax.tree.map(
        lambda *parts: np.concatenate(parts)[:total], *results
    )
    return Swept(
        hypers=hypers,
        state=parallel.with_keys(state, pattern),
        steps=np.minimum(np.arange(log_every, steps + log_every, log_every), steps),
        means={name: _quotient(mean) for name, mean in rows.items()},
        valid=found,
    )


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
    combinations = list(itertools.product(*(list(values) for values in axes.values())))
    if not axes or not combinations:
        raise ValueError(
            "grid: expected at least one axis, and a value on each, got none."
        )
    columns = zip(*combinations, strict=True)
    return dict(zip(axes, map(np.array, columns), strict=True))


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
        call: ``(hypers, state, batches, at, count) -> (state, means)``; means are
            [updates, members].
        validate: ``(hypers, params, batches) -> {name: [members]}``.
        whole: ``(state) -> state`` with a key for each member.
    """

    start: Callable
    call: Callable
    validate: Callable
    whole: Callable


def _programs(trial, hypers, data, size, mesh, max_nonfinite) -> _Programs:
    def tried(hyper):
        made = trial(hyper)
        if not isinstance(made, Trial):
            raise ValueError(
                f"trial: expected it to return a train.Trial, got {made!r}."
            )
        return made

    # Members with one key read the same data: drawn once, outside of the population.
    keys = jax.jit(jax.vmap(lambda hyper: tried(hyper).state.key))(hypers)
    data_of = np.asarray(jax.random.key_data(keys))
    shared = bool((data_of == data_of[0]).all())
    axes: Any = State._make([0] * len(State._fields))._replace(
        key=None if shared else 0
    )

    def start(hyper):
        state = tried(hyper).state
        return state._replace(key=None) if shared else state

    def call(hyper, state, batches, at, count):
        loss, optimizer, _ = tried(hyper)
        step = make_step(loss, optimizer, max_nonfinite=max_nonfinite)
        return many(step, data if callable(data) else None, size)(
            state, batches, at, count
        )

    def validate(hyper, params, carry, batch):
        carry, means = tried(hyper).loss(params, carry, batch, None)
        check_means(means)
        return carry, means

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
    go = compiled(call, (0, axes, None, None, None), (axes, 1), donate=1)
    check = compiled(validate, (0, 0, 0, None), (0, 0))

    def started(some):
        return begin(some)._replace(key=keys[0]) if shared else begin(some)

    def validated(some, params, batches):
        carry, sums = None, None
        for batch in begun(batches):
            carry, means = check(some, params, carry, batch)
            means = jax.tree.map(np.float64, to_host(means))
            sums = means if sums is None else jax.tree.map(np.add, sums, means)
        return {name: _quotient(mean) for name, mean in (sums or {}).items()}

    def whole(state):
        count = state.step.shape[0]
        return (
            state._replace(key=jnp.broadcast_to(state.key, count)) if shared else state
        )

    return _Programs(started, go, validated, whole)


def _checked(hypers: Mapping[str, Any], members: int | None = None) -> dict:
    """As NumPy arrays of one length."""
    arrays = {name: np.asarray(values) for name, values in hypers.items()}
    for name, values in arrays.items():
        members = len(values) if members is None and values.ndim else members
        if values.ndim != 1 or not len(values) or len(values) != members:
            raise ValueError(
                f"hypers[{name!r}]: expected [{members or 'N'}], one value a member, "
                f"got {list(values.shape)}."
            )
    if not arrays:
        raise ValueError("hypers: expected at least one hyperparameter, got none.")
    return arrays


def _windows(values: np.ndarray, every: int) -> np.ndarray:
    """Sums of [updates, members] over windows: [members, rows]."""
    starts = np.arange(0, len(values), every)
    return np.add.reduceat(values.astype(np.float64), starts, axis=0).T


def _quotient(mean: Any) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return mean.total / mean.weight

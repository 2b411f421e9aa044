"""The compiled parts of a sweep: members of a population by `vmap`, over devices."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from jaxrnn.train.batches import each
from jaxrnn.train.evaluate import means_over
from jaxrnn.train.loop import Plan, Program, many
from jaxrnn.train.loss import returned, with_shared, without_shared
from jaxrnn.train.processes import to_host
from jaxrnn.train.state import State
from jaxrnn.train.step import make_step


class Trial(NamedTuple):
    """One member of a population: the first three arguments of `fit`."""

    loss: Callable
    optimizer: optax.GradientTransformation
    state: State


class Programs(NamedTuple):
    """The compiled parts of a sweep; some are those hyperparameters that one slice has.

    Fields:
        start: ``(some) -> state``, all [members, ...], but the key if all share one.
        call: ``(some, state, stopped, batches, at, count) -> (state, means)``; means are
            [updates, members].
        validate: ``(some, params, shared, batches) -> {name: [members]}``.
        whole: ``(state) -> state`` with a key for each member.
    """

    start: Callable
    call: Callable
    validate: Callable
    whole: Callable

    def bound(self, some: dict, valid: Any, numbers: tuple[int, int]) -> Program:
        """What a run of the members with hyperparameters `some` calls."""
        evaluate = lambda *of: self.validate(some, *of, valid)
        first, last = numbers
        return Program(
            call=lambda state, batches, at, count, stopped: self.call(
                some, state, stopped, batches, at, count
            ),
            evaluate=None if valid is None else evaluate,
            place=lambda state: jax.tree.map(jnp.copy, state),
            seen=lambda state: jax.tree.map(
                lambda a: jnp.copy(a)[: last - first], self.whole(state)
            ),
            explain=None,
            members=(len(next(iter(some.values()))),),
            numbers=numbers,
        )


def programs(
    trial: Callable, hypers: dict, data: Any, plan: Plan, mesh: Any, **options: Any
) -> Programs:
    """The parts, compiled once for all slices; `options` are those of `make_step`."""
    made = functools.partial(_made, trial)
    # Members with one key read the same data: drawn once, outside of the population.
    keys = jax.jit(jax.vmap(lambda hyper: made(hyper).state.key))(hypers)
    key_data = to_host(keys)
    one_key = bool((key_data == key_data[0]).all())
    axes: Any = State._make([0] * len(State._fields))
    axes = axes._replace(key=None if one_key else 0)

    def start(hyper):
        state = made(hyper).state
        return state._replace(key=None) if one_key else state

    def call(hyper, state, stopped, batches, at, count):
        loss, optimizer, _ = made(hyper)
        step = make_step(loss, optimizer, max_nonfinite=plan.max_nonfinite, **options)
        if plan.patience is not None:
            step = _unless(stopped, step)
        draw = data if callable(data) else None
        return many(step, draw, plan.steps_per_call)(state, batches, at, count)

    def validate(hyper, params, carry, shared, batch):
        flow = with_shared(carry, shared)
        flow, means = returned(made(hyper).loss, params, flow, batch, None)
        return without_shared(flow, shared)[0], means

    compiled = functools.partial(_compiled, mesh=mesh)
    begin = compiled(start, (0,), axes._replace(key=None) if one_key else axes)
    go = compiled(call, (0, axes, 0, None, None, None), (axes, 1), donate=1)
    check = compiled(validate, (0, 0, 0, 0, None), (0, 0))

    def started(some):
        return begin(some)._replace(key=keys[0]) if one_key else begin(some)

    def validated(some, params, shared, batches):
        found = means_over(
            lambda carry, batch: check(some, params, carry, shared, batch),
            each("valid", batches),
        )
        if not found:
            raise ValueError("valid: expected at least one batch, got none.")
        return found

    def whole(state):
        if not one_key:
            return state
        count = (len(state.step), *state.key.shape)  # a key may be an array itself
        return state._replace(key=jnp.broadcast_to(state.key, count))

    return Programs(started, go, validated, whole)


def _made(trial: Callable, hyper: dict) -> Trial:
    """What `trial` returns, after a ValueError unless it is a `Trial`."""
    made = trial(hyper)
    if not isinstance(made, Trial) or not isinstance(made.state, State):
        raise ValueError(
            f"trial: expected it to return a train.Trial, got {made!r}. "
            "train.Trial(loss, optimizer, train.init(params, optimizer, key))"
        )
    return made


def _compiled(f: Callable, in_axes: Any, out_axes: Any, donate=(), *, mesh: Any):
    """`f` for all members, on the devices of `mesh`; axes are those of `jax.vmap`."""
    f = jax.vmap(f, in_axes, out_axes)
    if mesh is not None:
        (name,) = mesh.axis_names
        spec = lambda axis: P() if axis is None else P(*[None] * axis, name)
        specs = lambda axes: jax.tree.map(spec, axes, is_leaf=lambda a: a is None)
        # Members never meet, so there is nothing to check between devices.
        f = jax.shard_map(
            f,
            mesh=mesh,
            in_specs=specs(in_axes),
            out_specs=specs(out_axes),
            check_vma=False,
        )
    return jax.jit(f, donate_argnums=donate)


def _unless(stopped: jax.Array, step: Callable) -> Callable:
    """`step` for a member that has not stopped; of one that has, nothing changes."""

    def call(state, batch):
        new, means = step(state, batch)
        kept = jax.tree.map(lambda a, b: jnp.where(stopped, a, b), state, new)
        kept = kept._replace(key=state.key)  # which members may share
        return kept, jax.tree.map(lambda a: jnp.where(stopped, 0, a), means)

    return call

"""What a run is made of: its plan, its program, and many updates in one compiled call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.train.checks import check_count
from jaxrnn.train.feed import Drawn, Fed, Group, drawn


class Program(NamedTuple):
    """What a run calls; arrays of a population have its members in front.

    Fields:
        call: ``(state, batches, at, count, stopped) -> (state, means)``, compiled; means
            are [updates, *members].
        evaluate: ``(params, shared) -> {name: [*members]}``, on the validation batches;
            None: there are none.
        place: ``(state) -> state``, a copy where the updates are computed.
        seen: ``(state) -> state``, a copy of the members that rows are about.
        explain: ``(state, group, start, folder) -> error`` for a run that is halted by
            updates that are not finite, or None where a halted member hinders no other.
        members: () for one model, (N,) for a population.
        numbers: from which member to which the rows are about; see `Record`.
    """

    call: Callable
    evaluate: Callable | None
    place: Callable
    seen: Callable
    explain: Callable | None
    members: tuple = ()
    numbers: tuple[int, int] | None = None


@dataclass(frozen=True)
class Plan:
    """What happens when, in updates; see `fit`."""

    steps: int
    steps_per_call: int
    log_every: int
    save_every: int
    valid_every: int
    patience: int | None
    keep: int
    max_nonfinite: int

    @classmethod
    def checked(cls, **counts: Any) -> "Plan":
        """The plan; `None` stands for the defaults that `fit` describes."""
        check_count("steps_per_call", counts["steps_per_call"])
        default = lambda name, value: (
            counts | {name: value if counts[name] is None else counts[name]}
        )
        counts = default("save_every", 10 * counts["steps_per_call"])
        counts = default("valid_every", counts["save_every"])
        counts = default("log_every", counts["steps_per_call"])
        for name, value in counts.items():
            if not (name == "patience" and value is None):
                check_count(name, value)
        return cls(**counts)


class Call(NamedTuple):
    """What one compiled call did: the updates from `start` on.

    Fields:
        start: the update before its first.
        group: its batches.
        means: [updates, *members], on the host.
        seconds: how long it took.
    """

    start: int
    group: Group
    means: dict
    seconds: float


class Ahead:
    """The batches of the next call, or the error that came in their place.

    The error is raised when they are taken: by then all updates before it are saved.
    """

    def __init__(self, source: Drawn | Fed, count: int):
        self.error: Exception | None = None
        self._group: Group | None = None
        try:
            self._group = source.take(count) if count > 0 else None
        except Exception as error:
            self.error = error

    def take(self) -> Group:
        """The batches."""
        if self.error is not None:
            raise self.error
        assert self._group is not None
        return self._group


def many(step: Callable, draw: Callable | None, size: int) -> Callable:
    """``(state, batches, start, count) -> (state, means)``: updates in one loop.

    How many is no part of the program, so the bits of a run do not depend on where calls
    end; a room of one alone is another program to XLA. `batches` and `means` are trees of
    [room, ...]; with `draw`, `batches` is None and the room is `size`. `start` is the step
    of the state.
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

"""The loop that `fit` and `sweep` share: advance, validate, save, stop.

A run is many compiled calls of several updates each. Between calls it writes rows,
validates, saves and looks whether it shall stop; nothing of that changes the bits of the
updates, so that a run that was killed and resumed ends as one that was not.
"""

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.train import identity, parallel
from jaxrnn.train.checkpoint import Folder, first
from jaxrnn.train.data import Bucket, Window
from jaxrnn.train.feed import Drawn, Fed, Group, drawn
from jaxrnn.train.progress import Progress, shown
from jaxrnn.train.record import Record
from jaxrnn.train.step import State, check_count, check_function


class Program(NamedTuple):
    """What a run calls; arrays of a population have its members in front.

    Fields:
        call: ``(state, batches, at, count, stopped) -> (state, means)``, compiled; means
            are [updates, *members].
        evaluate: ``(params, shared) -> {name: [*members]}``, on the validation batches.
        place: ``(state) -> state``, a copy where the updates are computed.
        failed: ``(state, group, start, home) -> error`` for a run that is halted, or None
            where a halted member hinders no other.
        members: () for one model, (N,) for a population.
        numbers: from which member to which the rows are about; see `Record`.
    """

    call: Callable
    evaluate: Callable
    place: Callable
    failed: Callable | None
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


class Run:
    """A training run; `train` takes it to its end.

    Attributes:
        state: after the last update.
        best: ``(params, shared)`` of the best validation; without one the last.
        record: rows, and which validation was the best.
        at: how many batches went in so far.
    """

    def __init__(
        self,
        program: Program,
        source: Drawn | Fed,
        state: State,
        plan: Plan,
        record: Record,
        validates: bool,
    ):
        self.program, self.source, self.plan = program, source, plan
        self.record, self._validates = record, validates
        self.state = program.place(state)
        self.best = jax.tree.map(jnp.copy, (self.state.params, self.state.shared))
        self.at = int(np.max(parallel.to_host(self.state.step)))
        self._home: Folder | None = None
        self._group: Group | None = None  # the batches of the next call
        self._failed: Exception | None = None  # why there are none

    def open(self, home: Folder) -> None:
        """Resumes from a folder, or begins it by a checkpoint."""
        self._home = home
        saved = home.restore((self.state, self.best))
        if saved is None:
            self.save(self.source.position)
        else:
            state, self.best = saved.tree
            self.state, self.at = self.program.place(state), saved.step
            self.source.seek(saved.notes["data"])
            self.record.restore(saved.notes["record"])
        self.record.open(home.path, self.at)

    def train(self, progress: Progress, terminated: Callable) -> None:
        """From here to the end."""
        told = self.over
        if not told:
            self._fetch(self.at)
        while not told:
            if self._failed is not None:
                raise self._failed
            position = self._advance(progress)
            if self._validates and self._due(self.plan.valid_every):
                self._validate()
            told = parallel.agree(terminated()) or self.over
            if self._home is not None:
                last = told or self._failed is not None
                if last or self._due(self.plan.save_every):
                    self.save(position)
        if parallel.agree(terminated()):
            raise SystemExit(128 + signal.SIGTERM)
        self._settle()

    @property
    def over(self) -> bool:
        """Whether no update is left to make."""
        return self.at >= self.plan.steps or not self._running().any()

    def ended(self) -> str:
        """Why no update is left to make."""
        if self.at >= self.plan.steps:
            return f"is complete at step {self.at}: nothing to do"
        if self._stopped().all():
            return (
                f"stopped at step {self.at} of {self.plan.steps}, after "
                f"{self.plan.patience} validations without a better loss: nothing to do. "
                "A larger patience goes on"
            )
        return f"stopped at step {self.at} of {self.plan.steps}: nothing to do"

    def save(self, position: Any) -> None:
        """A checkpoint of all that the run is; `position` is where its data stand."""
        assert self._home is not None
        notes = dict(data=position, record=self.record.notes())
        self._home.save(self.at, (self.state, self.best), **notes)

    def _running(self) -> np.ndarray:
        """Of each member, whether it goes on."""
        halted = parallel.to_host(self.state.in_a_row) >= self.plan.max_nonfinite
        return ~(halted | self._stopped())

    def _stopped(self) -> np.ndarray:
        """Of each member, whether its patience is at an end."""
        patience = self.plan.patience
        return self.record.waited >= (np.inf if patience is None else patience)

    def _due(self, every: int) -> bool:
        """Whether it is time for what is done every so many updates, and in the end."""
        return self.at % every == 0 or self.at == self.plan.steps

    def _fetch(self, at: int) -> None:
        """The batches of a call from `at`, which ends where something must happen."""
        ends = [self.plan.save_every] * (self._home is not None)
        ends += [self.plan.valid_every] * self._validates
        left = [self.plan.steps_per_call, self.plan.steps - at]
        left += [end - at % end for end in ends]
        self._group = self._failed = None
        try:
            self._group = self.source.take(min(left)) if min(left) > 0 else None
        except Exception as error:  # to be raised when all before it is saved
            self._failed = error

    def _advance(self, progress: Progress) -> Any:
        """One call and its rows; returns where the data stand after it."""
        group, start, began = self._group, self.at, time.perf_counter()
        assert group is not None
        end, stopped = start + group.count, self._stopped()
        call, fails = self.program.call, self.program.failed
        self.state, means = call(self.state, group.stacked, start, group.count, stopped)
        self._fetch(end)  # while the device is at work
        means, in_a_row = parallel.to_host((means, self.state.in_a_row))
        halted = fails and in_a_row >= self.plan.max_nonfinite
        self.at = int(parallel.to_host(self.state.step)) if halted else end
        seconds = time.perf_counter() - began
        with parallel.together():
            tokens = tokens_in(group.batches)
            said = self.record.add(start, self.at, means, seconds, tokens)
            progress.step(self.at, said)
            if self.over and not halted:
                self.record.flush(self.at)
        if fails and halted:
            raise fails(self.state, group, start, self._home)
        return group.position

    def _validate(self) -> None:
        """A validation; keeps the params of each member that got better."""
        found = self.program.evaluate(self.state.params, self.state.shared)
        with parallel.together():
            better = self.record.validated(self.at, found)
            if not self._running().any():
                self.record.flush(self.at)
        if better.any():
            new = self.state.params, self.state.shared
            self.best = _chosen(better, new, self.best)

    def _settle(self) -> None:
        """What has no best validation keeps its last params, which is said aloud."""
        if not self._validates:
            never = np.ones(self.program.members, bool)
        else:
            never = ~np.isfinite(self.record.best.get("loss", np.float64(np.nan)))
            never = np.broadcast_to(never, self.program.members)
        if never.any():
            last = self.state.params, self.state.shared
            self.best = _chosen(never, last, self.best)
        if self._validates and self.record.best and never.any() and first():
            who = f" of {int(never.sum())} members" if never.ndim else ""
            warnings.warn(
                f"no validation{who} was finite, so there is no best: the params are "
                "those of the last update.",
                RuntimeWarning,
                stacklevel=5,
            )


def train(
    program: Program,
    source: Drawn | Fed,
    state: State,
    plan: Plan,
    *,
    folder: str | os.PathLike | None,
    told: dict,
    validates: bool,
    callback: Callable | None,
    progress: bool,
) -> Run:
    """A run from its first update, or from where its folder stands, to its last."""
    if callback is not None:
        check_function("callback", callback, "row")
    if plan.patience is not None and not validates:
        raise ValueError("patience: expected `valid` too, to see what is better.")
    if folder is not None and not source.seekable:
        raise ValueError(
            "data: expected an iterator with get_state and set_state, so that a run with "
            "a folder can resume. Grain's datasets and lists of batches have them."
        )
    record = Record(plan.log_every, callback, first(), program.members, program.numbers)
    run = Run(program, source, state, plan, record, validates)
    with contextlib.ExitStack() as stack:
        name, lines, terminated = "the run", [], lambda: False
        if folder is not None:
            folder = Path(folder).expanduser()
            home = stack.enter_context(Folder(folder, plan.keep))
            terminated = stack.enter_context(_sigterm())
            stack.callback(record.close)
            name, lines = os.fspath(folder), identity.claim(home, told)
            run.open(home)
        halted = parallel.to_host(run.state.in_a_row)
        if program.failed is not None and halted >= plan.max_nonfinite:
            raise ValueError(
                f"state: {int(halted)} updates in a row were skipped already, and "
                f"max_nonfinite is {plan.max_nonfinite}. state._replace(in_a_row=0) "
                "goes on."
            )
        if run.over:
            lines.append(f"{name} {run.ended()}")
        elif run.at and folder is not None:
            lines.append(f"{name} resumed at step {run.at}")
        done = plan.steps if run.over else run.at
        shows = progress and first()
        watcher = stack.enter_context(shown(plan.steps, done, shows))
        for line in lines:
            watcher.say(line)
        record.on_row = watcher.row
        run.train(watcher, terminated)
    return run


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


def tokens_in(batches: list) -> int | None:
    """How many tokens batches hold; None where they are not known to hold any."""
    if not batches or not isinstance(batches[0], Window | Bucket):
        return None
    count = lambda b: b.inputs.size if isinstance(b, Window) else int(b.lengths.sum())
    return sum(map(count, batches))


def _chosen(where: np.ndarray, then: Any, otherwise: Any) -> Any:
    """For each member `then` or `otherwise`, trees of [*members, ...]; copies."""
    if where.all():
        return jax.tree.map(jnp.copy, then)

    def one(a, b):
        flags = where.reshape(where.shape + (1,) * (a.ndim - where.ndim))
        return jnp.where(flags, a, b)

    return jax.tree.map(one, then, otherwise)


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

"""A run from its first update to its last: it advances, and its hooks do the rest.

A run is many compiled calls of several updates each. After each call it calls its hooks in
order: rows, validation, early stopping, the user's own, a checkpoint. A call ends where a
hook is due. No hook changes the bits of the updates, so that a run that was killed and
resumed ends as one that was not. All of a run is in this one file, to be read from top to
bottom: `train` opens it, `Run.train` is its loop, `Run.hooks` its order.
"""

import contextlib
import functools
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._functions import check_function
from jaxrnn.train import identity
from jaxrnn.train.checkpoint import Folder
from jaxrnn.train.feed import Drawn, Fed
from jaxrnn.train.hooks import Hook, Snapshot, asks_to_stop, check_hooks
from jaxrnn.train.loop import Ahead, Call, Plan, Program
from jaxrnn.train.processes import agree, is_first_process, to_host, together
from jaxrnn.train.progress import Progress, shown
from jaxrnn.train.record import Record
from jaxrnn.train.sigterm import noted_sigterm
from jaxrnn.train.state import State


class Run:
    """A training run; `train` takes it to its end.

    Attributes:
        state: after the last update.
        users: the hooks of the user's.
        best: ``(params, shared)`` of the best validation; without one the last.
        record: rows, and which validation was the best.
        at: how many batches went in so far.
        position: where the data stand after them.
        stopped: bool [*members], whose patience is at an end.
        halted: bool [*members], who skipped too many updates in a row.
        asked: whether a hook of the user's has asked to stop.
        leaving: whether SIGTERM came.
        newest: the newest call of the program.
    """

    newest: Call

    def __init__(
        self,
        program: Program,
        source: Drawn | Fed,
        state: State,
        plan: Plan,
        record: Record,
        users: Iterable[Hook],
    ):
        self.program, self.source = program, source
        self.plan, self.record = plan, record
        self.state = program.place(state)
        self.best = jax.tree.map(jnp.copy, (self.state.params, self.state.shared))
        self.at = int(np.max(to_host(self.state.step)))
        self.position = source.position
        self.stopped = np.zeros(program.members, bool)
        self.halted = self._halted(to_host(self.state.in_a_row))
        self.asked = self.leaving = False
        self.progress = Progress()
        self.folder: Folder | None = None
        self.terminated: Callable = lambda: False
        self.users = [Hook(_asking(hook.call), hook.every) for hook in users]
        self._ahead = Ahead(source, 0)

    def open(self, folder: Folder) -> None:
        """Resumes from a folder, or begins it by a checkpoint."""
        self.folder = folder
        saved = folder.restore((self.state, self.best))
        if saved is None:
            self.save()
            self.record.open(folder.path, self.at)
            return
        state, self.best = saved.tree
        self.state, self.at = self.program.place(state), saved.step
        self.position = saved.notes["data"]
        self.source.seek(self.position)
        self.record.restore(saved.notes["record"])
        self.record.open(folder.path, self.at)
        self.halted = self._halted(to_host(self.state.in_a_row))
        if self.plan.patience is not None:
            self.stop_early()  # by the patience of today
        if saved.notes.get("asked") and not self.over:  # and by the hooks of today
            for hook in self.users:
                if hook.due(self.at, self.plan.steps):
                    hook.call(self)

    def train(self) -> None:
        """From here to the end: calls of the program, and after each the hooks."""
        if not self.over:
            self._read_ahead(self.at)
        while not self.ending:
            self.advance()
            for hook in self.hooks:
                if hook.due(self.at, self.plan.steps) or (hook.at_end and self.ending):
                    hook.call(self)
        if not (self.over or self.leaving):
            self._ahead.take()  # raises what came in place of batches
        if agree(self.terminated()):
            raise SystemExit(128 + signal.SIGTERM)
        self._settle()

    @functools.cached_property
    def hooks(self) -> list[Hook]:
        """What is called after each call of the program, in this order."""
        plan = self.plan
        hooks = [Hook(Run.log), Hook(Run.refuse_nonfinite), Hook(Run.end_row)]
        if self.program.evaluate is not None:
            hooks += [Hook(Run.validate, plan.valid_every)]
        if plan.patience is not None:
            hooks += [Hook(Run.stop_early, plan.valid_every)]
        hooks += self.users
        hooks += [Hook(Run.end_row)]  # those before it may have ended the run
        if self.folder is not None:
            hooks += [Hook(Run.look_for_sigterm)]
            hooks += [Hook(Run.save, plan.save_every, at_end=True)]
        return hooks

    @property
    def over(self) -> bool:
        """Whether no update is left to make."""
        rests = (self.stopped | self.halted).all()
        return bool(self.at >= self.plan.steps or self.asked or rests)

    @property
    def ending(self) -> bool:
        """Whether no update follows: the run is over, or something came in between."""
        return self.over or self.leaving or self._ahead.error is not None

    def ended(self) -> str:
        """Why no update is left to make."""
        if self.at >= self.plan.steps:
            return f"is complete at step {self.at}: nothing to do"
        stopped = f"stopped at step {self.at} of {self.plan.steps}"
        if self.stopped.all():
            return (
                f"{stopped}, after {self.plan.patience} validations without a better "
                "loss: nothing to do. A larger patience goes on"
            )
        if self.asked:
            return (
                f"{stopped}, as a hook asks: nothing to do. Without it the run goes on"
            )
        return f"{stopped}: nothing to do"

    def advance(self) -> None:
        """One call of the program: the updates until a hook is due, or fewer."""
        group, start, began = self._ahead.take(), self.at, time.perf_counter()
        self.state, means = self.program.call(
            self.state, group.stacked, start, group.count, self.stopped
        )
        self._read_ahead(start + group.count)  # while the device is at work
        means, in_a_row = to_host((means, self.state.in_a_row))
        self.halted, self.at = self._halted(in_a_row), start + group.count
        if self.program.explain is not None and self.halted:
            self.at = int(to_host(self.state.step))
        self.position = group.position
        self.newest = Call(start, group, means, time.perf_counter() - began)

    def log(self) -> None:
        """The rows of the newest call."""
        call = self.newest
        with together():
            tokens = call.group.tokens
            words = self.record.add(
                call.start, self.at, call.means, call.seconds, tokens
            )
            self.progress.step(self.at, words)

    def refuse_nonfinite(self) -> None:
        """Raises `NonFinite` if one model has skipped too many updates in a row."""
        explain, call = self.program.explain, self.newest
        if explain is not None and self.halted:
            raise explain(self.state, call.group, call.start, self.folder)

    def end_row(self) -> None:
        """The last row of a run that is over, of fewer updates than others."""
        if self.over:
            with together():
                self.record.flush(self.at)

    def validate(self) -> None:
        """A validation; keeps the params of each member that got better."""
        assert self.program.evaluate is not None
        found = self.program.evaluate(self.state.params, self.state.shared)
        with together():
            better = self.record.validated(self.at, found)
        if better.any():
            new = self.state.params, self.state.shared
            self.best = _chosen(better, new, self.best)

    def stop_early(self) -> None:
        """Stops each member whose patience is at an end."""
        assert self.plan.patience is not None
        self.stopped = self.record.waited >= self.plan.patience

    def ask(self, call: Callable) -> None:
        """Calls a hook of the user's, which may end the run."""
        with together():
            asked = asks_to_stop(call(self.snapshot()))
        self.asked = agree(asked) or self.asked

    def look_for_sigterm(self) -> None:
        """Whether any process was told to end."""
        self.leaving = agree(self.terminated())

    def save(self) -> None:
        """A checkpoint of all that the run is."""
        assert self.folder is not None
        notes = dict(data=self.position, record=self.record.notes())
        if self.asked:
            notes["asked"] = True
        self.folder.save(self.at, (self.state, self.best), **notes)

    def snapshot(self) -> Snapshot:
        """What a hook of the user's sees."""
        state = self.program.seen(self.state)
        history = [dict(row) for row in self.record.history]
        return Snapshot(self.at, state, history, self.program.numbers)

    def _halted(self, in_a_row: np.ndarray) -> np.ndarray:
        return np.asarray(in_a_row >= self.plan.max_nonfinite)

    def _read_ahead(self, at: int) -> None:
        """The batches of a call from `at`, which ends where a hook is due."""
        left = [hook.every - at % hook.every for hook in self.hooks if hook.every]
        count = min(self.plan.steps_per_call, self.plan.steps - at, *left)
        self._ahead = Ahead(self.source, count)

    def _settle(self) -> None:
        """What has no best validation keeps its last params, which is said aloud."""
        validates = self.program.evaluate is not None
        never = np.ones(self.program.members, bool)
        if validates:
            never = ~np.isfinite(self.record.best.get("loss", np.float64(np.nan)))
            never = np.broadcast_to(never, self.program.members)
        if never.any():
            last = self.state.params, self.state.shared
            self.best = _chosen(never, last, self.best)
        if validates and self.record.best and never.any() and is_first_process():
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
    description: dict,
    hooks: Iterable[Hook],
    callback: Callable | None,
    progress: bool,
) -> Run:
    """A run from its first update, or from where its folder stands, to its last."""
    if callback is not None:
        check_function("callback", callback, "row")
    check_hooks(hooks)
    if plan.patience is not None and program.evaluate is None:
        raise ValueError("patience: expected `valid` too, to see what is better.")
    if folder is not None and not source.seekable:
        raise ValueError(
            "data: expected an iterator with get_state and set_state, so that a run with "
            "a folder can resume. Grain's datasets and lists of batches have them."
        )
    record = Record(
        plan.log_every, callback, is_first_process(), program.members, program.numbers
    )
    run, name, lines = Run(program, source, state, plan, record, hooks), "the run", []
    with contextlib.ExitStack() as stack:
        if folder is not None:
            path = Path(folder).expanduser()
            opened = stack.enter_context(Folder(path, plan.keep))
            run.terminated = stack.enter_context(noted_sigterm())
            stack.callback(record.close)
            name, lines = os.fspath(path), identity.claim(opened, description)
            run.open(opened)
        _check_goes_on(run)
        if run.over:
            lines.append(f"{name} {run.ended()}")
        elif run.at and folder is not None:
            lines.append(f"{name} resumed at step {run.at}")
        done = plan.steps if run.over else run.at
        shows = progress and is_first_process()
        run.progress = stack.enter_context(shown(plan.steps, done, shows))
        for line in lines:
            run.progress.say(line)
        record.on_row = run.progress.row
        run.train()
    return run


def _check_goes_on(run: Run) -> None:
    """Raises ValueError if one model has halted: no update would be made."""
    if run.program.explain is not None and run.halted:
        raise ValueError(
            f"state: {int(to_host(run.state.in_a_row))} updates in a row were skipped "
            f"already, and max_nonfinite is {run.plan.max_nonfinite}. "
            "state._replace(in_a_row=0) goes on."
        )


def _asking(call: Callable) -> Callable:
    """The user's hook as one of the run's own."""
    return lambda run: run.ask(call)


def _chosen(flags: np.ndarray, then: Any, otherwise: Any) -> Any:
    """For each member `then` or `otherwise`, trees of [*members, ...]; copies."""
    if flags.all():
        return jax.tree.map(jnp.copy, then)

    def one(a, b):
        flag = flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim))
        return jnp.where(flag, a, b)

    return jax.tree.map(one, then, otherwise)

"""What a sweep found: arrays of a population, and their table."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._extra import need
from jaxrnn.train.processes import with_keys
from jaxrnn.train.run import Run
from jaxrnn.train.state import State


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


def joined(hypers: dict, runs: list[tuple[Run, Any]], like: State) -> Swept:
    """One population of the runs of all slices.

    Args:
        hypers: of all members.
        runs: each with its ``(state, params, shared)`` on the host.
        like: a state with the keys that `to_host` took.
    """
    total = len(next(iter(hypers.values())))
    join = lambda *slices: np.concatenate(slices)[:total]
    state, params, shared = jax.tree.map(join, *(found for _, found in runs))
    never = lambda run: np.full(run.program.members, np.nan)
    names = dict.fromkeys(name for run, _ in runs for name in run.record.best)
    history = [row for run, _ in runs for row in run.record.history]
    steps, means = _means(history, total)
    return Swept(
        hypers=hypers,
        state=with_keys(state, like),
        params=params,
        shared=shared,
        steps=steps,
        means=means,
        valid={
            name: join(*(run.record.best.get(name, never(run)) for run, _ in runs))
            for name in names
            if name != "step"
        },
        history=history,
    )


def _means(history: list[dict], total: int) -> tuple[np.ndarray, dict]:
    """``(steps, means)`` of the rows about updates; NaN where a member has none."""
    rows = [row for row in history if row["split"] == "train"]
    steps = np.unique(np.array([row["step"] for row in rows], int))
    means = {}
    for name in rows[0] if rows else ():
        if name not in ("step", "split", "members", "weight", "skipped", "empty"):
            means[name] = np.full((total, len(steps)), np.nan)
            for row in rows:
                entry = slice(*row["members"]), np.searchsorted(steps, row["step"])
                means[name][entry] = np.array(row[name], float)
    return steps, means


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

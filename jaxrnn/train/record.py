"""What a run says of itself: rows, the best so far, and how long ago that was.

The numbers of a run are arrays ``[*members]``: without axes for one model, ``[N]`` for a
population. In rows they are floats or lists, and None where a number is not finite, which
JSON cannot say.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.train.mean import Mean, Sum, terms
from jaxrnn.train.row_file import RowFile, bytes_until

FLAGS = ("skipped", "empty")  # means that are counts in a row


def totals(means: dict[str, Mean | Sum]) -> dict[str, np.ndarray]:
    """Named means as ``[terms, 2, ...]``, totals and weights, in float64."""
    pairs = lambda mean: [[term.total, term.weight] for term in terms(mean)]
    return {name: np.array(pairs(mean), np.float64) for name, mean in means.items()}


def add_up(sums: dict[str, np.ndarray], more: dict[str, np.ndarray]) -> None:
    """Adds what `totals` made to `sums`, in place and in order."""
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def quotient(sums: np.ndarray) -> np.ndarray:
    """The means ``[...]`` of sums ``[terms, 2, ...]``; NaN where nothing counts."""
    total, weight = sums[:, 0], sums[:, 1]
    counts = weight != 0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        means = np.where(counts, total / weight, 0).sum(axis=0)
    return np.where(counts.any(axis=0), means, np.nan)


def plain(values: Any) -> Any:
    """Floats or lists of them; None for what is not finite."""
    if isinstance(values, list):
        return [plain(value) for value in values]
    if isinstance(values, np.ndarray | np.generic):
        return plain(values.tolist())
    return values if values is None or np.isfinite(values) else None


def short(value: Any) -> str:
    """A number in few digits; of a population the median of those that are finite."""
    found = np.asarray(value, float)
    found = found[np.isfinite(found)]
    return f"{np.median(found):.4g}" if found.size else "not finite"


class Record:
    """The history of a run, written as it grows.

    Args:
        log_every: updates in a row.
        callback: called with each row, or None.
        write: whether this process writes and calls.
        members: () for one model, (N,) for a population.
        numbers: from which member to which (that one left out) the rows are about;
            members behind them only fill a slice. None for one model.
    """

    def __init__(
        self,
        log_every: int,
        callback: Callable | None,
        write: bool,
        members: tuple = (),
        numbers: tuple[int, int] | None = None,
    ):
        self.history: list[dict] = []
        self.best: dict[str, np.ndarray] = {}  # of each member's best validation
        self.waited = np.zeros(members, int)  # validations since then
        self.on_row: Callable = lambda row, words: None
        self._speed: dict[str, str] = {}  # in words
        self._log_every, self._callback, self._write = log_every, callback, write
        self._members, self._numbers = members, numbers
        self._sums: dict[str, np.ndarray] = {}
        self._bytes = 0
        self._metrics = self._timing = None

    def notes(self) -> dict:
        """All that a resumed run must know and cannot read from the rows."""
        return {
            "bytes": 0 if self._metrics is None else self._metrics.size(),
            "best": {name: plain(value) for name, value in self.best.items()},
            "waited": self.waited.tolist(),
            "sums": {name: value.tolist() for name, value in self._sums.items()},
        }

    def restore(self, notes: dict) -> None:
        """Goes on from `notes`."""
        floats = lambda lists: {k: np.array(v, float) for k, v in lists.items()}
        self._bytes = notes["bytes"]
        self.best, self._sums = floats(notes["best"]), floats(notes["sums"])
        self.waited = np.array(notes["waited"])

    def open(self, folder: Path, step: int) -> None:
        """Writes to the folder's files, behind what they held at `step`."""
        if self._write:
            self._metrics = RowFile(folder / "metrics.jsonl", self._bytes)
            self.history = self._metrics.kept()
            timing = folder / "timing.jsonl"
            self._timing = RowFile(timing, bytes_until(timing, step))

    def close(self) -> None:
        """Closes the files."""
        for file in (self._metrics, self._timing):
            if file is not None:
                file.close()

    def add(
        self, start: int, end: int, means: Any, seconds: float, tokens: int | None
    ) -> dict[str, str]:
        """Takes the updates from `start` to `end`; ``means`` are [updates, *members].

        Returns:
            What a progress bar may say of them.
        """
        found = totals(means)
        rates = {"steps_per_s": (end - start) / seconds}
        self._speed = {"steps/s": f"{rates['steps_per_s']:.1f}"}
        if tokens is not None:
            rates["tokens_per_s"] = tokens / seconds
            self._speed["tokens/s"] = f"{rates['tokens_per_s']:,.0f}"
        for number in range(end - start):
            add_up(self._sums, {k: value[:, :, number] for k, value in found.items()})
            if (start + number + 1) % self._log_every == 0:
                self.flush(start + number + 1)
        if self._timing is not None:
            self._timing.write({"step": end, "seconds": seconds, **rates})
        loss = quotient(found["loss"][:, :, : end - start].sum(axis=2))
        return {"loss": short(loss), **self._speed}

    def flush(self, step: int) -> None:
        """A row of the updates since the last one, if there are any."""
        if self._sums:
            means = {name: quotient(value) for name, value in self._sums.items()}
            counts = {name: self._sums[name][0, 0].astype(int) for name in FLAGS}
            means["weight"] = self._sums["loss"][0, 1]
            self._emit(self._row(step, "train", means | counts))
        self._sums = {}

    def validated(self, step: int, found: dict[str, np.ndarray]) -> np.ndarray:
        """A row of a validation; of each member, whether its loss is the best so far."""
        self._emit(self._row(step, "valid", found))
        loss = found["loss"]
        before = self.best.get("loss", np.full(self._members, np.nan))
        better = np.isfinite(loss) & ~(loss >= before)
        new = {"step": np.full(self._members, float(step)), **found}
        old = lambda name: self.best.get(name, np.full(self._members, np.nan))
        self.best = {
            name: np.where(better, value, old(name)) for name, value in new.items()
        }
        self.waited = np.where(better, 0, self.waited + 1)
        return better

    def best_row(self) -> dict | None:
        """The row of one model's best validation, or None."""
        if not self.best or np.isnan(self.best["loss"]):
            return None
        values = dict(self.best)
        return self._row(int(values.pop("step")), "valid", values)

    def _row(self, step: int, split: str, values: dict[str, np.ndarray]) -> dict:
        row: dict[str, Any] = {"step": step, "split": split}
        if self._numbers is None:
            return row | {name: plain(value) for name, value in values.items()}
        first, last = self._numbers
        row["members"] = [first, last]
        cut = lambda value: plain(value[: last - first])
        return row | {name: cut(value) for name, value in values.items()}

    def _emit(self, row: dict) -> None:
        """Writes a row, remembers it, shows it, and calls back."""
        if self._metrics is not None:
            self._metrics.write(row)
        self.history.append(row)
        if self._write:
            self.on_row(row, self._speed)
            if self._callback is not None:
                self._callback(row)

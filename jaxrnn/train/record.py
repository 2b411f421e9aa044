"""What a run says of itself: rows, the best so far, and how long ago that was.

The numbers of a run are arrays ``[*members]``: without axes for one model, ``[N]`` for a
population. In rows they are floats or lists, and None where a number is not finite, which
JSON cannot say.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.train.mean import Mean, Sum, terms

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
        self.on_row: Callable = lambda row, said: None
        self._said: dict[str, str] = {}  # of the speed
        self._log_every, self._callback, self._write = log_every, callback, write
        self._members, self._numbers = members, numbers
        self._sums: dict[str, np.ndarray] = {}
        self._bytes = 0
        self._metrics = self._timing = None

    def notes(self) -> dict:
        """All that a resumed run must know and cannot read from the rows."""
        lists = lambda arrays: {name: plain(value) for name, value in arrays.items()}
        return {
            "bytes": 0 if self._metrics is None else self._metrics.size(),
            "best": lists(self.best),
            "waited": self.waited.tolist(),
            "sums": {name: value.tolist() for name, value in self._sums.items()},
        }

    def restore(self, notes: dict) -> None:
        """Goes on from `notes`."""
        arrays = lambda lists: {k: np.array(v, float) for k, v in lists.items()}
        self._bytes = notes["bytes"]
        self.best, self._sums = arrays(notes["best"]), arrays(notes["sums"])
        self.waited = np.array(notes["waited"])

    def open(self, folder: Path, step: int) -> None:
        """Writes to the folder's files, behind what they held at `step`."""
        if self._write:
            self._metrics = Rows(folder / "metrics.jsonl", self._bytes)
            self.history = self._metrics.kept()
            timing = folder / "timing.jsonl"
            self._timing = Rows(timing, _bytes_until(timing, step))

    def close(self) -> None:
        """Closes the files."""
        for rows in (self._metrics, self._timing):
            if rows is not None:
                rows.close()

    def add(
        self, start: int, end: int, means: Any, seconds: float, tokens: int | None
    ) -> dict[str, str]:
        """Takes the updates from `start` to `end`; ``means`` are [updates, *members].

        Returns:
            What a progress bar may say of them.
        """
        found = totals(means)
        rates = {"steps_per_s": (end - start) / seconds}
        self._said = {"steps/s": f"{rates['steps_per_s']:.1f}"}
        if tokens is not None:
            rates["tokens_per_s"] = tokens / seconds
            self._said["tokens/s"] = f"{rates['tokens_per_s']:,.0f}"
        for number in range(end - start):
            add_up(self._sums, {k: value[:, :, number] for k, value in found.items()})
            if (start + number + 1) % self._log_every == 0:
                self.flush(start + number + 1)
        if self._timing is not None:
            self._timing.write({"step": end, "seconds": seconds, **rates})
        loss = quotient(found["loss"][:, :, : end - start].sum(axis=2))
        return {"loss": short(loss), **self._said}

    def flush(self, step: int) -> None:
        """A row of the updates since the last one, if there are any."""
        if self._sums:
            means = {name: quotient(value) for name, value in self._sums.items()}
            counts = {name: self._sums[name][0, 0].astype(int) for name in FLAGS}
            means["weight"] = self._sums["loss"][0, 1]
            self._tell(self._row(step, "train", means | counts))
        self._sums = {}

    def validated(self, step: int, found: dict[str, np.ndarray]) -> np.ndarray:
        """A row of a validation; of each member, whether its loss is the best so far."""
        self._tell(self._row(step, "valid", found))
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

    def _tell(self, row: dict) -> None:
        if self._metrics is not None:
            self._metrics.write(row)
        self.history.append(row)
        if self._write:
            self.on_row(row, self._said)
            if self._callback is not None:
                self._callback(row)


class Rows:
    """A file of JSON rows, one a line.

    Args:
        path: made if it does not exist.
        size: bytes that stay; what lies behind them is cut off.

    Raises:
        ValueError: if the file is shorter.
        OSError: if it cannot be written to.
    """

    def __init__(self, path: Path, size: int):
        self.path = path
        with self._explained():
            self._file = path.open("ab+")
            have = path.stat().st_size
            if have < size:
                self._file.close()
                raise ValueError(
                    f"{path}: expected the {size} bytes that it had at the checkpoint, got "
                    f"{have}. Bring it back, or start in another folder."
                )
            self._file.truncate(size)

    def kept(self) -> list[dict]:
        """The rows that stayed."""
        self._file.seek(0)
        return [json.loads(line) for line in self._file if line.strip()]

    def size(self) -> int:
        """Bytes, all of which are written."""
        return self.path.stat().st_size

    def write(self, row: dict) -> None:
        """Appends a row, which a kill of this process can no longer lose.

        Raises:
            OSError: if it could not be written.
        """
        with self._explained():
            self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                f"cannot write to {self.path}: {error}. The checkpoints are as they were. "
                "Make room or a place to write, and run again."
            ) from error


def _bytes_until(path: Path, step: int) -> int:
    """The length of a file's rows up to a step, before the first that is none."""
    size = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        try:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        size += len(line)
    return size

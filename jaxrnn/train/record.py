"""What a run says of itself: rows, the best so far, and how long ago that was."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxrnn.train.mean import Mean


def add_up(sums: dict[str, list[float]], means: dict[str, Mean]) -> None:
    """Adds named means to ``{name: [total, weight]}``, in float64 and in order."""
    for name, mean in means.items():
        had = sums.setdefault(name, [0.0, 0.0])
        had[0] += float(mean.total)
        had[1] += float(mean.weight)


def divided(sums: dict[str, list[float]]) -> dict[str, float | None]:
    """The means; None for one that is not finite, which JSON cannot say."""
    values = {
        k: total / weight if weight else math.nan for k, (total, weight) in sums.items()
    }
    return {k: value if math.isfinite(value) else None for k, value in values.items()}


class Record:
    """The history of a run, written as it grows.

    Args:
        log_every: updates in a row.
        callback: called with each row, or None.
        write: whether this process writes and calls.
    """

    def __init__(self, log_every: int, callback: Callable | None, write: bool):
        self.history: list[dict] = []
        self.best: dict | None = None
        self.waited = 0  # validations since the best
        self._log_every, self._callback, self._write = log_every, callback, write
        self._sums: dict[str, list[float]] = {}
        self._skipped = self._bytes = 0
        self._metrics = self._timing = None

    def notes(self) -> dict:
        """All that a resumed run must know and cannot read from the rows."""
        return {
            "bytes": 0 if self._metrics is None else self._metrics.size(),
            "best": self.best,
            "waited": self.waited,
            "sums": self._sums,
            "skipped": self._skipped,
        }

    def restore(self, notes: dict) -> None:
        """Goes on from `notes`."""
        self._bytes = notes["bytes"]
        self.best, self.waited = notes["best"], notes["waited"]
        self._sums, self._skipped = notes["sums"], notes["skipped"]

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

    def add(self, start: int, end: int, means: Any, seconds: float) -> dict:
        """Takes the updates from `start` to `end`; ``means`` are [updates, ...].

        Returns:
            What a progress bar may say of them.
        """
        here: dict[str, list[float]] = {}
        for number in range(end - start):
            one = {k: Mean(m.total[number], m.weight[number]) for k, m in means.items()}
            if one["grad_norm"].weight == 0:
                self._skipped += 1
            add_up(self._sums, one)
            add_up(here, one)
            if (start + number + 1) % self._log_every == 0:
                self.flush(start + number + 1)
        rates = {
            "steps_per_s": (end - start) / seconds,
            "tokens_per_s": here["loss"][1] / seconds if here else 0.0,
        }
        if self._timing is not None:
            self._timing.write({"step": end, "seconds": seconds, **rates})
        loss = divided(here).get("loss") if here else None
        said = {"loss": "not finite" if loss is None else f"{loss:.4f}"}
        said["steps/s"] = f"{rates['steps_per_s']:.1f}"
        said["tokens/s"] = f"{rates['tokens_per_s']:,.0f}"
        return said

    def flush(self, step: int) -> None:
        """A row of the updates since the last one, if there are any."""
        if self._sums:
            means = divided(self._sums)
            weight = self._sums["loss"][1]
            row = {"step": step, "split": "train", **means}
            self._tell({**row, "weight": weight, "skipped": self._skipped})
        self._sums, self._skipped = {}, 0

    def validated(self, step: int, means: dict) -> bool:
        """A row of a validation; whether its loss is the best so far."""
        row = {"step": step, "split": "valid", **means}
        self._tell(row)
        loss = means["loss"]
        better = loss is not None and (self.best is None or loss < self.best["loss"])
        self.best, self.waited = (row, 0) if better else (self.best, self.waited + 1)
        return better

    def _tell(self, row: dict) -> None:
        if self._metrics is not None:
            self._metrics.write(row)
        self.history.append(row)
        if self._write and self._callback is not None:
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

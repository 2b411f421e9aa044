"""What a person sees of a run: a bar in a terminal, a line per row elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxrnn._extra import need
from jaxrnn.train.record import short

LOG = logging.getLogger("jaxrnn")


class Progress:
    """Shows nothing; what `say` is told goes to the log "jaxrnn"."""

    def step(self, step: int, words: dict) -> None:
        """The updates made so far, and words about the last of them."""

    def row(self, row: dict, words: dict) -> None:
        """A row of the history, with words about the speed."""

    def say(self, line: str) -> None:
        """One line that is not about progress."""
        LOG.info(line)


class _Lines(Progress):
    """A line with the time for each row, for output that is no terminal."""

    def __init__(self, total: int):
        self._total = total

    def row(self, row, words):
        rest = {k: v for k, v in row.items() if k not in ("step", "split", "members")}
        line = _joined({**{k: short(v) for k, v in rest.items()}, **words})
        who = ""
        if "members" in row:
            start, end = row["members"]
            who = f"median of members {start} to {end - 1}  "
        self.say(f"step {row['step']}/{self._total}  {row['split']}  {who}{line}")

    def say(self, line):
        print(time.strftime("%H:%M:%S"), line, flush=True)


class _Bar(Progress):
    """A bar in a terminal or a notebook."""

    def __init__(self, progress: Any, task: Any):
        self._progress, self._task = progress, task

    def step(self, step, words):
        self._progress.update(self._task, completed=step, words=_joined(words))

    def say(self, line):
        self._progress.console.print(line, highlight=False, markup=False)


@contextmanager
def shown(total: int, done: int, show: bool) -> Iterator[Progress]:
    """The `Progress` of a run of `total` updates of which `done` are made."""
    if not show:
        yield Progress()
        return
    rich = need("rich.progress")
    console = rich.Console()
    if done >= total or not (console.is_terminal or console.is_jupyter):
        yield _Lines(total)
        return
    columns = (
        rich.TextColumn("{task.completed}/{task.total}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[words]}"),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total, completed=done, words="compiling")
        yield _Bar(progress, task)


def _joined(words: dict) -> str:
    return "  ".join(f"{name} {value}" for name, value in words.items())

"""A bar in the terminal: how far, how well, how fast."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxrnn.extra import need


@contextmanager
def bar(total: int, done: int, show: bool) -> Iterator[Any]:
    """A function ``(step, **said)`` that moves the bar and sets the words beside it."""
    if not show:
        yield lambda step, **said: None
        return
    rich = need("rich.progress")
    columns = (
        rich.TextColumn("{task.completed}/{task.total}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[said]}"),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns) as progress:
        task = progress.add_task("", total=total, completed=done, said="compiling")

        def tell(step, **said):
            words = "  ".join(f"{name} {value}" for name, value in said.items())
            progress.update(task, completed=step, said=words)

        yield tell

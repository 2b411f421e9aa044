"""The rows of a training run."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxrnn.plot._axes import add_legend, axes_or_new, line_styles
from jaxrnn.plot._outliers import clip_outliers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def history(
    rows: Sequence[Mapping],
    name: str = "loss",
    *,
    title: str,
    ylabel: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """A mean against the number of updates, one line for each split of the rows.

    Args:
        rows: such as `jaxrnn.train.Fitted.history`, or lines of a ``metrics.jsonl``.
        name: of the mean.
        title: what is shown.
        ylabel: what the y axis shows; None: `name`.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes. A row without the mean, or whose mean is None, leaves a gap.

    Raises:
        ValueError: if no row has the mean.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> rows = [{"step": n, "split": "train", "loss": 1 / n} for n in (50, 100)]
        >>> plot.history(rows, title="a run").lines[0].get_xdata().tolist()
        [50, 100]
    """
    if not any(name in row for row in rows):
        raise ValueError(f"name: expected a mean that a row has, got {name!r}.")
    splits = {row["split"]: [] for row in rows}
    for row in rows:
        splits[row["split"]].append((row["step"], row.get(name)))
    ax = axes_or_new(ax)
    for (split, points), style in zip(splits.items(), line_styles(splits), strict=True):
        steps, values = zip(*points, strict=True)
        values = [np.nan if value is None else value for value in values]
        ax.plot(steps, values, label=split, **style)
    ax.grid(alpha=0.3)
    clip_outliers(ax, start=True)
    ax.set(title=title, xlabel="updates", ylabel=ylabel or name)
    return add_legend(ax)

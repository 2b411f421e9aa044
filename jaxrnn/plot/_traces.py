"""Units over time, as lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plot._axes import axes_or_new, check_shape, line_styles, word_axis
from jaxrnn.plot._outliers import clip_outliers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def traces(
    values: Mapping[str, Any],
    words: Sequence[str],
    *,
    title: str,
    ylabel: str,
    ax: "Axes | None" = None,
) -> "Axes":
    """One number over the words of a sentence, a line for each label.

    Args:
        values: label -> ``[T]``, such as one unit's cell state for "cat" and for "cats".
        words: T labels, one per step.
        title: what is shown.
        ylabel: what the y axis shows, with its unit.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes.

    Raises:
        ValueError: for values that are not ``[T]``.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> c = {"cat": [0.0, -1.0], "cats": [0.0, 1.0]}
        >>> ax = plot.traces(c, ["The", "cat(s)"], title="unit 3", ylabel="cell state c")
        >>> ax.lines[2].get_ydata().tolist()
        [0.0, 1.0]
    """
    ax = axes_or_new(ax)
    ax.axhline(0, color="0.7", linewidth=1)
    for (label, line), style in zip(values.items(), line_styles(values), strict=True):
        check_shape(f"values[{label!r}]", line, (len(words),), "one number per word")
        ax.plot(np.arange(len(words)), np.asarray(line), label=label, **style)
    word_axis(ax, words)
    ax.set_title(title, loc="left")
    ax.set_ylabel(ylabel)
    ax.grid(alpha=0.3)
    clip_outliers(ax, at_least=1.0)
    # above the axes: beside them it would take width from heat maps below
    ax.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=len(values), frameon=False
    )
    return ax

"""What a task loses with each unit."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plot._axes import COLOURS, add_legend, axes_or_new, check_shape
from jaxrnn.plot._outliers import ROOM, _limits, _mark, padded

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ablation(
    scores: Any, whole: float, *, title: str, ylabel: str, ax: "Axes | None" = None
) -> "Axes":
    """The score without each unit, the largest change first, and that of the whole network.

    Args:
        scores: ``[H]``, such as `jaxrnn.probe.ablation`.
        whole: the score with all units.
        title: what is shown.
        ylabel: what the score is.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes. The unit's number is below its bar.

    Raises:
        ValueError: for scores that are not ``[H]``.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> ax = plot.ablation([0.9, 0.5, 1.0], 1.0, title="who", ylabel="accuracy")
        >>> [label.get_text() for label in ax.get_xticklabels()]
        ['1', '0', '2']
    """
    scores = np.asarray(scores)
    check_shape("scores", scores, (scores.size,), "one number per unit")
    ax = axes_or_new(ax)
    order = np.argsort(-np.abs(scores - whole), kind="stable")
    heights = np.where(np.isfinite(scores), scores, np.nan)[order]
    ax.bar(range(len(order)), heights, color=COLOURS[0])
    ax.axhline(whole, color=COLOURS[1], linestyle="--", label="all units")
    ax.set_xticks(range(len(order)), [str(unit) for unit in order])
    ax.grid(alpha=0.3, axis="y")
    if limits := _limits([np.append(scores, whole)], room=ROOM):
        ax.set_ylim(*padded(min(0, limits[0]), max(0, limits[1])))
        _mark(ax, [(np.arange(len(order)), scores[order], COLOURS[0])])
    ax.set(title=title, xlabel="silenced unit", ylabel=ylabel)
    return add_legend(ax)

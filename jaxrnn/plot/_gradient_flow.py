"""How far back gradients reach."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plot._axes import add_legend, axes_or_new, line_styles
from jaxrnn.plot._outliers import clip_outliers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def gradient_flow(
    norms: Mapping[str, Any],
    *,
    title: str,
    ylabel: str = "gradient norm (log scale)",
    legend: bool = True,
    ax: "Axes | None" = None,
) -> "Axes":
    """Gradient norms by lag on a log scale: how far back from the loss they reach.

    Args:
        norms: label -> ``[T]`` in order of time, such as a field of
            `jaxrnn.probe.gradient_flow` for one row; the last has lag 0. Zeros are left
            out: a log scale has none. None draws no line but reserves the label's colour,
            so that neighbouring axes agree.
        title: what is shown.
        ylabel: what the y axis shows.
        legend: whether to draw a legend; one is enough for neighbouring axes.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes.

    Raises:
        ValueError: for norms that are not ``[T]``.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> ax = plot.gradient_flow({"LSTM": [0.01, 0.1, 1.0]}, title="at the start")
        >>> ax.lines[0].get_xdata().tolist(), ax.get_yscale()
        ([2, 1, 0], 'log')
    """
    ax = axes_or_new(ax)
    for (label, line), style in zip(norms.items(), line_styles(norms), strict=True):
        if line is None:
            continue
        line = np.asarray(line)
        if line.ndim != 1:
            raise ValueError(
                f"norms[{label!r}]: expected [T], got {list(line.shape)}. Take one row, or "
                "the median over rows."
            )
        lags = np.arange(len(line))[::-1]
        ax.plot(
            lags, np.where(line > 0, line, np.nan), label=label, markevery=5, **style
        )
    ax.set_yscale("log")
    ax.grid(alpha=0.3)
    ax.set(title=title, xlabel="lag (words before the loss)", ylabel=ylabel)
    clip_outliers(ax, at_least=4.0)
    return add_legend(ax) if legend else ax

"""How long inputs are remembered."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plot._axes import add_legend, axes_or_new, check_shape, line_styles
from jaxrnn.plot._outliers import clip_outliers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def memory_span(
    spans: Mapping[str, Any],
    lags: Sequence[int],
    *,
    title: str,
    ylabel: str = "change of the output (log scale)",
    ax: "Axes | None" = None,
) -> "Axes":
    """How far an input `lag` steps ago moves the output, one line for each label.

    Args:
        spans: label -> ``[L]``, such as `jaxrnn.probe.memory_span` for one row. Zeros are
            left out: a log scale has none.
        lags: L numbers of steps.
        title: what is shown.
        ylabel: what the y axis shows.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes.

    Raises:
        ValueError: for spans that are not ``[L]``.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> ax = plot.memory_span({"GRU": [1.0, 0.1]}, [0, 5], title="at the start")
        >>> ax.lines[0].get_xdata().tolist(), ax.get_yscale()
        ([0, 5], 'log')
    """
    ax = axes_or_new(ax)
    for (label, line), style in zip(spans.items(), line_styles(spans), strict=True):
        check_shape(f"spans[{label!r}]", line, (len(lags),), "one number per lag")
        line = np.asarray(line)
        ax.plot(np.array(lags), np.where(line > 0, line, np.nan), label=label, **style)
    ax.set_yscale("log")
    ax.grid(alpha=0.3)
    ax.set(title=title, xlabel="lag (steps before the end)", ylabel=ylabel)
    clip_outliers(ax, at_least=4.0)
    return add_legend(ax)

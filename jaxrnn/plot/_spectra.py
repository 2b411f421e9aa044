"""Singular values and Lyapunov exponents, by rank."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plot._axes import add_legend, axes_or_new, check_shape, line_styles
from jaxrnn.plot._outliers import clip_outliers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spectrum(
    values: Mapping[str, Any], *, title: str, ax: "Axes | None" = None
) -> "Axes":
    """Singular values of one step's Jacobian, the largest first, with a line at 1.

    Args:
        values: label -> ``[..., D]``, such as `jaxrnn.probe.jacobian_spectrum`. The median
            over all steps and rows is drawn for each rank. Zeros leave a gap.
        title: what is shown.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes, on a log scale.

    Raises:
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> ax = plot.spectrum({"GRU": [[1.0, 0.5], [0.8, 0.3]]}, title="at the start")
        >>> ax.lines[1].get_ydata().tolist()
        [0.9, 0.4]
    """
    ax = axes_or_new(ax)
    ax.axhline(1, color="0.7", linewidth=1)
    middle = {
        label: np.median(np.reshape(value, (-1, np.shape(value)[-1])), axis=0)
        for label, value in values.items()
    }
    ax = ranked_lines("values", middle, ax, log=True)
    ax.set(title=title, xlabel="rank", ylabel="singular value (log scale)")
    return add_legend(ax)


def exponents(
    values: Mapping[str, Any], *, title: str, ax: "Axes | None" = None
) -> "Axes":
    """Lyapunov exponents, the largest first; above 0, small differences grow.

    Args:
        values: label -> ``[K]``, such as `jaxrnn.probe.lyapunov` for one row. What is not
            finite leaves a gap.
        title: what is shown.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes.

    Raises:
        ValueError: for values that are not ``[K]``.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> ax = plot.exponents({"RNN": [-0.5, 0.1]}, title="chaos")
        >>> ax.lines[1].get_ydata().tolist()
        [0.1, -0.5]
    """
    ax = axes_or_new(ax)
    ax.axhline(0, color="0.7", linewidth=1)
    ax = ranked_lines("values", values, ax, log=False)
    ax.set(title=title, xlabel="rank", ylabel="exponent (nats per step)")
    return add_legend(ax)


def ranked_lines(
    name: str, lines: Mapping[str, Any], ax: "Axes", *, log: bool
) -> "Axes":
    """Each label's numbers from the largest; what a scale cannot show leaves a gap."""
    for (label, line), style in zip(lines.items(), line_styles(lines), strict=True):
        line = np.asarray(line, float)
        check_shape(f"{name}[{label!r}]", line, (line.size,), "of one row")
        ordered = -np.sort(-line)
        shown = np.isfinite(ordered) & ((ordered > 0) | (not log))
        ordered = np.where(shown, ordered, np.nan)
        ax.plot(np.arange(1, len(ordered) + 1), ordered, label=label, **style)
    ax.set_yscale("log" if log else "linear")
    ax.grid(alpha=0.3)
    clip_outliers(ax, at_least=1.0)
    return ax

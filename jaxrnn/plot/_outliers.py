"""Values far from all others, which do not set the scale of an axis."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def clip_outliers(ax: "Axes", *, at_least: float = 0.0, start: bool = False) -> "Axes":
    """Sets the height of the axes by most of the lines, so that one cannot squash the rest.

    The reference is zero (on a log scale one) and, of the half of the lines that are
    nearest to it, the values between the 10th and the 90th percentile. If some value is
    more than 20 times as far away as the reference is high (on a log scale three times,
    in decades), then the axes end half a height beyond the reference. Triangles on the
    edge mark what is beyond it, and a text names the extreme value. Otherwise nothing is
    changed. The functions of this module call it.

    Args:
        ax: axes with lines. Axes that share their y axis are set together. Axes whose
            limits were set by hand stay as they are.
        at_least: the least height of the reference, in units of the axis (decades on a
            log scale).
        start: whether the first value of each line belongs to the reference, as it should
            for the curve of a loss that falls.

    Returns:
        The axes.

    Example:
        >>> from matplotlib import pyplot as plt
        >>> from jaxrnn import plot
        >>> _, ax = plt.subplots()
        >>> for line in ([0.7, 0.5], [0.8, 0.6], [0.7, 1e9]):
        ...     _ = ax.plot(line)
        >>> float(plot.clip_outliers(ax).get_ylim()[1]) < 2
        True
    """
    together = ax.get_shared_y_axes().get_siblings(ax)
    marks = [a for one in together for a in one.get_children() if a.get_gid() == MARK]
    if not (marks or ax.get_autoscaley_on()):
        return ax
    for mark in marks:
        mark.remove()
    log = ax.get_yscale() == "log"
    to, back = (np.log10, lambda y: 10.0**y) if log else (np.asarray, np.asarray)
    lines = [(one, line) for one in together for line in one.lines if _is_data(line)]
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = [to(np.asarray(line.get_ydata(), float)) for _, line in lines]
    if log:  # zeros have no height there
        heights = [np.where(height == -np.inf, np.nan, height) for height in heights]
    room = 3 if log else ROOM
    limits = _limits(heights, room=room, at_least=at_least, start=start)
    if limits is None:
        ax.autoscale(axis="y")
        return ax
    ax.set_ylim(*back(np.array(padded(*limits))))
    for one in together:
        drawn = [line for ax, line in lines if ax is one]
        _mark(one, [(*line.get_data(), line.get_color()) for line in drawn])
    return ax


ROOM = 20  # heights of the reference


MARK = "beyond the axis"


def _is_data(line: Any) -> bool:
    """Not a level such as that of ``axhline``, and not a mark."""
    return line.get_transform() is line.axes.transData


def _limits(
    lines: Sequence, *, room: float, at_least: float = 0.0, start: bool = False
) -> tuple[float, float] | None:
    """Where axes should end, or None if no value is far from the others."""
    lines = [line[~np.isnan(line)] for line in map(np.asarray, lines)]
    boxes = []
    for line in lines:
        some = line[np.isfinite(line)]
        if some.size:
            ends = [
                np.quantile(some, 0.1, method="higher"),
                np.quantile(some, 0.9, method="lower"),
                *([some[0]] if start else []),
            ]
            boxes.append((min(ends), max(ends)))
    if not boxes:
        return None
    boxes = sorted(boxes, key=lambda box: max(np.abs(box)))
    near = boxes[: (len(boxes) + 1) // 2]
    low = min(0.0, *(box[0] for box in near))
    high = max(0.0, *(box[1] for box in near))
    size = max(high - low, at_least)
    values = np.concatenate(lines)
    inside = lambda room: values[
        (values >= low - room * size) & (values <= high + room * size)
    ]
    if not size or len(inside(room)) == len(values):
        return None
    return inside(0.5).min(), inside(0.5).max()


def padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _mark(ax: "Axes", lines: Sequence[tuple]) -> None:
    """Marks on the edges where a line ``(x, y, colour)`` is beyond them, and how far."""
    low, high = ax.get_ylim()
    above = 1, "^", "up to", np.max, lambda y: y > high
    below = 0, "v", "down to", np.min, lambda y: y < low
    for edge, marker, words, most, beyond in (above, below):
        extremes = []
        for x, y, colour in lines:
            x, y = np.asarray(x), np.asarray(y, float)
            if (out := beyond(y)).any():
                extremes.append(most(y[out]))
                kept = {"transform": ax.get_xaxis_transform(), "clip_on": False}
                kept |= {"color": colour, "markersize": 7, "zorder": 5, "gid": MARK}
                ax.plot(x[out], np.full(out.sum(), edge), marker, **kept)
        if extremes:
            style: dict[str, Any] = {"textcoords": "offset points", "ha": "right"}
            style |= {
                "gid": MARK,
                "va": "bottom" if edge == 0 else "top",
                "color": "0.3",
            }
            at, apart = (1, edge), (-6, 8 if edge == 0 else -8)
            text = f"beyond the axis: {words} {most(extremes):.2g}"
            ax.annotate(text, at, apart, "axes fraction", fontsize="small", **style)

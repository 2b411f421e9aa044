"""Accuracy against distance."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plot._axes import add_legend, axes_or_new, line_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def accuracy(
    distances: Sequence[int],
    accuracies: Mapping[str, Any],
    *,
    title: str,
    baselines: Mapping[str, Any] | None = None,
    legend: bool = True,
    ax: "Axes | None" = None,
) -> "Axes":
    """Accuracy against distance: the median over seeds, with bars from worst to best.

    Args:
        distances: D numbers of words.
        accuracies: label -> ``[seeds, D]`` between 0 and 1.
        title: what is shown.
        baselines: label -> ``[D]``, drawn in dashes.
        legend: whether to draw a legend, which also says what the bars mean; one is
            enough for neighbouring axes.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes. Lines are set apart sideways by up to 10% of the distance, so that equal
        ones can be told apart.

    Raises:
        ValueError: for accuracies that are not ``[seeds, D]``.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> found = {"LSTM": [[1.0, 0.9], [1.0, 0.7], [0.9, 0.8]]}
        >>> ax = plot.accuracy([10, 20], found, title="trained on 30 to 40 words")
        >>> ax.lines[0].get_ydata().round().tolist()
        [100.0, 80.0]
    """
    ax = axes_or_new(ax)
    seeds = set()
    at = np.asarray(distances)
    spread = np.linspace(-0.1, 0.1, max(2, len(accuracies)))
    for (label, found), style, apart in zip(
        accuracies.items(), line_styles(accuracies), spread, strict=False
    ):
        found = 100 * np.asarray(found)
        if found.ndim != 2 or found.shape[1] != len(distances):
            raise ValueError(
                f"accuracies[{label!r}]: expected [seeds, {len(distances)}], one column "
                f"per distance, got {list(found.shape)}."
            )
        seeds.add(len(found))
        middle = np.median(found, axis=0)
        reach = np.abs(np.stack([found.min(axis=0), found.max(axis=0)]) - middle)
        x = at * (1 + apart)
        ax.plot(x, middle, label=label, **style)
        ax.errorbar(
            x, middle, reach, fmt="none", color=style["color"], alpha=0.5, capsize=3
        )
    for (label, line), dashes in zip(
        (baselines or {}).items(), ("--", ":", "-."), strict=False
    ):
        ax.plot(distances, 100 * np.asarray(line), dashes, color="0.4", label=label)
    ax.set_xscale("log")
    ax.set_xticks(distances, [str(d) for d in distances])
    ax.minorticks_off()
    ax.set_ylim(-5, 105)
    ax.grid(alpha=0.3)
    ax.set(title=title, xlabel="distance (words)", ylabel="accuracy (%)")
    several = " or ".join(map(str, sorted(seeds)))
    meaning = f"points: median of {several} seeds\nbars: worst to best seed"
    return add_legend(ax, None if seeds <= {1} else meaning) if legend else ax

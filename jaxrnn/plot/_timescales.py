"""How many steps units hold on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxrnn.plot._axes import add_legend, axes_or_new
from jaxrnn.plot._spectra import ranked_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def timescales(
    scales: Mapping[str, Any], *, title: str, ax: "Axes | None" = None
) -> "Axes":
    """How many steps each unit remembers, the longest first, on a log scale.

    Args:
        scales: label -> ``[H]``, such as a field of `jaxrnn.probe.timescale` for one row.
            Units whose time scale is infinite or 0 leave a gap.
        title: what is shown.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes.

    Raises:
        ValueError: for scales that are not ``[H]``.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> ax = plot.timescales({"LSTM": [3.0, 20.0, 5.0]}, title="trained")
        >>> ax.lines[0].get_ydata().tolist()
        [20.0, 5.0, 3.0]
    """
    ax = ranked_lines("scales", scales, axes_or_new(ax), log=True)
    ax.set(title=title, xlabel="unit, by rank", ylabel="time scale (steps, log scale)")
    return add_legend(ax)

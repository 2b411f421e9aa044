"""Axes, colours and labels that all pictures share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn._extra import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COLOURS = "#0072B2 #D55E00 #009E73 #CC79A7 #56B4E9 #E69F00 #000000 #999999".split()


MARKERS = "osD^vPXd"


def axes_or_new(ax: "Axes | None") -> "Axes":
    return pyplot().subplots(layout="constrained")[1] if ax is None else ax


def pyplot() -> Any:
    return need("matplotlib.pyplot")


def heat_map(ax, values, words, title, units, colours, low, high, label) -> "Axes":
    values = np.asarray(values)
    units = range(values.shape[-1]) if units is None else units
    check_shape("values", values, (len(words), len(units)), "words across, units down")
    beyond = "both" if np.nanmax(np.abs(values), initial=0) > high else "neither"
    image = ax.imshow(
        values.T,
        aspect="auto",
        cmap=colours,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.01, extend=beyond)
    word_axis(ax, words)
    ax.set_yticks(range(len(units)), [str(unit) for unit in units])
    ax.set_title(title, loc="left")
    ax.set_ylabel("unit")
    return ax


def word_axis(ax: "Axes", words: Sequence[str]) -> None:
    ax.set_xticks(
        range(len(words)), words, rotation=50, ha="right", rotation_mode="anchor"
    )


def line_styles(lines: Mapping) -> list[dict]:
    """A style for each label."""
    if len(lines) > len(COLOURS):
        raise ValueError(
            f"expected at most {len(COLOURS)} labels, got {len(lines)}: there are no more "
            "colours that all can tell apart. Draw them on several axes."
        )
    return [
        {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.8}
        for colour, marker, _ in zip(COLOURS, MARKERS, lines, strict=False)
    ]


def add_legend(ax: "Axes", title: str | None = None) -> "Axes":
    """Beside the axes, where it covers no data."""
    style = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "frameon": False}
    ax.legend(title=title, alignment="left", **style)
    return ax


def check_shape(name: str, values: Any, shape: tuple, meaning: str) -> None:
    if np.shape(values) != shape:
        raise ValueError(
            f"{name}: expected {list(shape)}, {meaning}, got {list(np.shape(values))}."
        )

"""Heat maps of gates and states over time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn import cells
from jaxrnn.plot._axes import axes_or_new, heat_map, pyplot
from jaxrnn.plot._outliers import ROOM, _limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes


NAMES = {
    "i": "input gate i: how much of the candidate enters c",
    "f": "forget gate f: how much of c is kept",
    "g": "candidate g: what may enter c",
    "o": "output gate o: how much of c is shown in h",
    "r": "reset gate r: how much of h the candidate sees",
    "z": "keep gate z: how much of h is kept",
    "n": "candidate n: what may enter h",
}
# Of cells whose letters stand for something else.
TITLES: dict[type, dict[str, str]] = {
    cells.SimpleRNNGates: {"h": "candidate h: what h becomes"},
    cells.MGUGates: {"f": "keep gate f: how much of h is kept"},
    cells.JANETGates: {
        "f": "forget gate f: how much of h is kept",
        "i": "input gate i: how much of the candidate enters h",
        "g": "candidate g: what may enter h",
    },
    cells.SLSTMGates: {
        "i": "input gate i: how much of the candidate enters c, beside e⁻ᵐ",
        "f": "forget gate f: how much of c is kept, beside e⁻ᵐ",
        "m": "stabiliser m: the scale of c and n",
    },
    cells.LEMGates: {
        "a": "step a: how far c goes towards its candidate",
        "d": "step d: how far h goes towards its candidate",
        "n": "candidate n: what may enter c",
        "m": "candidate m: what may enter h",
    },
    cells.CoRNNGates: {"n": "candidate n: the force on h"},
    cells.LeakyRNNGates: {"n": "candidate n: the current that v goes towards"},
    cells.AntisymmetricRNNGates: {"n": "candidate n: what is added to h"},
    cells.GatedAntisymmetricRNNGates: {
        "z": "input gate z: how much of the candidate is added",
        "n": "candidate n: what may be added to h",
    },
}


def gates(
    values: Any, words: Sequence[str], *, axes: Any = None, units: Any = None
) -> Any:
    """Heat maps of all of a cell's gates, one below the other.

    Args:
        values: a NamedTuple of ``[T, H]``, such as ``probe.gates(...)`` of one sequence.
            Of images ``[T, *space, H]`` the mean over the image is drawn.
        words: T labels, one per step.
        axes: as many axes as gates; None: those of one new figure.
        units: see `gate`.

    Returns:
        The axes, a list. A gate (0 to 1) is drawn by `gate`, a candidate by `state`.

    Raises:
        ValueError: for the gates of several cells, another number of axes than gates, and
            as `gate` says.
        ImportError: without matplotlib.

    Example:
        >>> import jax.numpy as jnp, jaxrnn
        >>> from jaxrnn import plot
        >>> r, z, n = jnp.array([[[0.1, 0.9]], [[0.8, 1.0]], [[-0.9, 0.0]]])
        >>> values = jaxrnn.cells.GRUGates(r, z, n)
        >>> [ax.get_title("left")[:9] for ax in plot.gates(values, ["cats"])]
        ['reset gat', 'keep gate', 'candidate']
    """
    if not hasattr(values, "_fields") or any(hasattr(v, "_fields") for v in values):
        raise ValueError(
            "values: expected the gates of one cell, a NamedTuple of [T, H], got "
            f"{type(values).__name__}. Of a stack or a bidirectional cell, draw one part "
            "at a time, such as values[0]."
        )
    if axes is None:
        size = (10, 1 + 2 * len(values))
        figure = pyplot().figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(values), sharex=True, squeeze=False)[:, 0]
    axes = list(axes)
    if len(axes) != len(values):
        raise ValueError(
            f"axes: expected {len(values)}, one for each of {list(values._fields)}, "
            f"got {len(axes)}."
        )
    drawn = []
    for name, value, ax in zip(values._fields, values, axes, strict=True):
        title = TITLES.get(type(values), {}).get(name) or NAMES.get(name) or str(name)
        value = np.asarray(value)
        if value.ndim > 2:
            value = value.mean(axis=tuple(range(1, value.ndim - 1)))
            title += " (mean over the image)"
        opens = np.min(value, initial=0) >= 0 and np.max(value, initial=1) <= 1
        draw = gate if opens and not title.startswith("candidate") else state
        drawn.append(draw(value, words, title=title, units=units, ax=ax))
    return drawn


def gate(
    values: Any,
    words: Sequence[str],
    *,
    title: str,
    units: Any = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Heat map of a gate: units down, words across, dark at 0 (closed), bright at 1 (open).

    Args:
        values: ``[T, H]`` between 0 and 1, such as ``probe.gates(...).f`` of one sequence.
        words: T labels, one per step.
        title: what is shown, such as "forget gate f".
        units: ``[H]`` numbers to name the rows by; None: 0 to H - 1.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes.

    Raises:
        ValueError: for values that do not fit the words and the units.
        ImportError: without matplotlib.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import plot
        >>> f = np.array([[0.1, 0.9], [0.8, 1.0], [0.9, 0.0]])
        >>> ax = plot.gate(f, ["The", "cats", "ate"], title="forget gate f")
        >>> [label.get_text() for label in ax.get_xticklabels()]
        ['The', 'cats', 'ate']
    """
    ax = axes_or_new(ax)
    return heat_map(
        ax, values, words, title, units, "viridis", 0, 1, "0 closed, 1 open"
    )


def state(
    values: Any,
    words: Sequence[str],
    *,
    title: str,
    units: Any = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Heat map of a state: units down, words across, blue below zero and red above.

    Args:
        values: ``[T, H]`` of any sign, such as the LSTM's c over one sequence.
        words: T labels, one per step.
        title: what is shown, such as "cell state c".
        units: ``[H]`` numbers to name the rows by; None: 0 to H - 1.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes. Zero is white, and the scale is symmetric. Values far from all others
        do not set it: they have its last colour, and the colour bar ends in an arrow.

    Raises:
        ValueError: for values that do not fit the words and the units.
        ImportError: without matplotlib.

    Example:
        >>> import numpy as np
        >>> from jaxrnn import plot
        >>> c = np.array([[0.5, -2.0], [0.8, 1.0]])
        >>> ax = plot.state(c, ["The", "cats"], title="cell state c")
        >>> tuple(float(limit) for limit in ax.images[0].get_clim())
        (-2.0, 2.0)
    """
    ax = axes_or_new(ax)
    sizes = np.abs(np.asarray(values, float))
    limits = _limits(list(sizes.T), room=ROOM, at_least=1.0)
    finite = sizes[np.isfinite(sizes)]
    most = float(limits[1] if limits else np.max(finite, initial=1e-12))
    label = f"up to ±{np.nanmax(sizes):.2g}" if limits else "below 0, above 0"
    return heat_map(ax, values, words, title, units, "RdBu_r", -most, most, label)

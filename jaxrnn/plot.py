"""Pictures of what the probes measure, on matplotlib axes.

Each function draws on the axes that it is given and returns them. Without axes it makes
one new figure. The colours are those of Okabe and Ito, which colour-blind people can tell
apart, and each line has its own marker. A value far from all others does not set the
scale: see `clip_outliers`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.extra import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = "#0072B2 #D55E00 #009E73 #CC79A7 #56B4E9 #E69F00 #000000 #999999".split()
MARKERS = "osD^vPXd"


NAMES = {
    "i": "input gate i: how much of the candidate enters c",
    "f": "forget gate f: how much of c is kept",
    "g": "candidate g: what may enter c",
    "o": "output gate o: how much of c is shown in h",
    "r": "reset gate r: how much of h the candidate sees",
    "z": "keep gate z: how much of h is kept",
    "n": "candidate n: what may enter h",
}


def gates(
    values: Any, words: Sequence[str], *, axes: Any = None, units: Any = None
) -> Any:
    """Heat maps of all of a cell's gates, one below the other.

    Args:
        values: a NamedTuple of ``[T, H]``, such as ``probe.gates(...)`` of one sequence.
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
        >>> values = jaxrnn.GRUGates(r, z, n)
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
        figure = _pyplot().figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(values), sharex=True, squeeze=False)[:, 0]
    axes = list(axes)
    if len(axes) != len(values):
        raise ValueError(
            f"axes: expected {len(values)}, one for each of {list(values._fields)}, "
            f"got {len(axes)}."
        )
    drawn = []
    for name, value, ax in zip(values._fields, values, axes, strict=True):
        title = NAMES.get(name) or str(name)
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
    ax = _axes(ax)
    return _heat(ax, values, words, title, units, "viridis", 0, 1, "0 closed, 1 open")


def contrast(
    memories: Mapping[str, Any],
    values: Any,
    words: Sequence[str],
    *,
    name: str,
    count: int = 8,
) -> list["Axes"]:
    """How a cell tells two sequences apart: its memory of both, its gates on the second.

    The units shown are those whose memory differs most after the last step.

    Args:
        memories: two labels -> ``[T, H]``, such as the LSTM's c for "cat" and for "cats".
        values: a NamedTuple of gates ``[T, H]``: ``probe.gates(...)`` of the second.
        words: T labels, the second sequence's.
        name: what the memory is, such as "cell state c".
        count: how many units.

    Returns:
        The axes of a new figure from above: the first unit's memory of both, all units'
        memory of the second, and its gates.

    Raises:
        ValueError: for memories that are not two, and as `gate` says.
        ImportError: without matplotlib.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> from jaxrnn import plot
        >>> one, other = jnp.array([[[0.0, 0.1]], [[0.0, -0.5]]])
        >>> values = jaxrnn.GRUGates(*jnp.full((3, 1, 2), 0.5))
        >>> both = {"cat": one, "cats": other}
        >>> axes = plot.contrast(both, values, ["x"], name="h", count=1)
        >>> axes[0].get_title("left"), len(axes)
        ('h of unit 1', 5)
    """
    if len(memories) != 2:
        raise ValueError(f"memories: expected two, got {list(memories)}.")
    one, other = map(np.asarray, memories.values())
    units = np.argsort(-np.abs(one[-1] - other[-1]))[:count]
    rows = 2 + len(values)
    figure = _pyplot().figure(figsize=(10, 1 + 2 * rows), layout="constrained")
    axes = list(figure.subplots(rows, sharex=True))
    lines = {
        label: np.asarray(memory)[:, units[0]] for label, memory in memories.items()
    }
    traces(lines, words, title=f"{name} of unit {units[0]}", ylabel=name, ax=axes[0])
    state(other[:, units], words, title=name, units=units, ax=axes[1])
    chosen = type(values)(*(np.asarray(value)[:, units] for value in values))
    return axes[:2] + gates(chosen, words, units=units, axes=axes[2:])


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
    ax = _axes(ax)
    sizes = np.abs(np.asarray(values, float))
    limits = _limits(list(sizes.T), room=ROOM, at_least=1.0)
    finite = sizes[np.isfinite(sizes)]
    most = float(limits[1] if limits else np.max(finite, initial=1e-12))
    label = f"up to ±{np.nanmax(sizes):.2g}" if limits else "below 0, above 0"
    return _heat(ax, values, words, title, units, "RdBu_r", -most, most, label)


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
    ax = _axes(ax)
    ax.axhline(0, color="0.7", linewidth=1)
    for (label, line), style in zip(values.items(), _styles(values), strict=True):
        _check(f"values[{label!r}]", line, (len(words),), "one number per word")
        ax.plot(np.arange(len(words)), np.asarray(line), label=label, **style)
    _word_axis(ax, words)
    ax.set_title(title, loc="left")
    ax.set_ylabel(ylabel)
    ax.grid(alpha=0.3)
    clip_outliers(ax, at_least=1.0)
    # above the axes: beside them it would take width from heat maps below
    ax.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=len(values), frameon=False
    )
    return ax


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
    ax = _axes(ax)
    for (label, line), style in zip(norms.items(), _styles(norms), strict=True):
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
    return _legend(ax) if legend else ax


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
    ax = _axes(ax)
    for (label, line), style in zip(spans.items(), _styles(spans), strict=True):
        _check(f"spans[{label!r}]", line, (len(lags),), "one number per lag")
        line = np.asarray(line)
        ax.plot(np.array(lags), np.where(line > 0, line, np.nan), label=label, **style)
    ax.set_yscale("log")
    ax.grid(alpha=0.3)
    ax.set(title=title, xlabel="lag (steps before the end)", ylabel=ylabel)
    clip_outliers(ax, at_least=4.0)
    return _legend(ax)


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
    ax = _ranked("scales", scales, _axes(ax), log=True)
    ax.set(title=title, xlabel="unit, by rank", ylabel="time scale (steps, log scale)")
    return _legend(ax)


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
    ax = _axes(ax)
    ax.axhline(1, color="0.7", linewidth=1)
    middle = {
        label: np.median(np.reshape(value, (-1, np.shape(value)[-1])), axis=0)
        for label, value in values.items()
    }
    ax = _ranked("values", middle, ax, log=True)
    ax.set(title=title, xlabel="rank", ylabel="singular value (log scale)")
    return _legend(ax)


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
    ax = _axes(ax)
    ax.axhline(0, color="0.7", linewidth=1)
    ax = _ranked("values", values, ax, log=False)
    ax.set(title=title, xlabel="rank", ylabel="exponent (nats per step)")
    return _legend(ax)


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
    _check("scores", scores, (scores.size,), "one number per unit")
    ax = _axes(ax)
    order = np.argsort(-np.abs(scores - whole), kind="stable")
    heights = np.where(np.isfinite(scores), scores, np.nan)[order]
    ax.bar(range(len(order)), heights, color=COLOURS[0])
    ax.axhline(whole, color=COLOURS[1], linestyle="--", label="all units")
    ax.set_xticks(range(len(order)), [str(unit) for unit in order])
    ax.grid(alpha=0.3, axis="y")
    if limits := _limits([np.append(scores, whole)], room=ROOM):
        ax.set_ylim(*_padded(min(0, limits[0]), max(0, limits[1])))
        _mark(ax, [(np.arange(len(order)), scores[order], COLOURS[0])])
    ax.set(title=title, xlabel="silenced unit", ylabel=ylabel)
    return _legend(ax)


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
    ax = _axes(ax)
    seeds = set()
    at = np.asarray(distances)
    spread = np.linspace(-0.1, 0.1, max(2, len(accuracies)))
    for (label, found), style, apart in zip(
        accuracies.items(), _styles(accuracies), spread, strict=False
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
    return _legend(ax, None if seeds <= {1} else meaning) if legend else ax


def history(
    rows: Sequence[Mapping],
    name: str = "loss",
    *,
    title: str,
    ylabel: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """A mean against the number of updates, one line for each split of the rows.

    Args:
        rows: such as `jaxrnn.train.Fitted.history`, or lines of a ``metrics.jsonl``.
        name: of the mean.
        title: what is shown.
        ylabel: what the y axis shows; None: `name`.
        ax: axes to draw on; None: new ones.

    Returns:
        The axes. A row without the mean, or whose mean is None, leaves a gap.

    Raises:
        ValueError: if no row has the mean.
        ImportError: without matplotlib.

    Example:
        >>> from jaxrnn import plot
        >>> rows = [{"step": n, "split": "train", "loss": 1 / n} for n in (50, 100)]
        >>> plot.history(rows, title="a run").lines[0].get_xdata().tolist()
        [50, 100]
    """
    if not any(name in row for row in rows):
        raise ValueError(f"name: expected a mean that a row has, got {name!r}.")
    splits = {row["split"]: [] for row in rows}
    for row in rows:
        splits[row["split"]].append((row["step"], row.get(name)))
    ax = _axes(ax)
    for (split, points), style in zip(splits.items(), _styles(splits), strict=True):
        steps, values = zip(*points, strict=True)
        values = [np.nan if value is None else value for value in values]
        ax.plot(steps, values, label=split, **style)
    ax.grid(alpha=0.3)
    clip_outliers(ax, start=True)
    ax.set(title=title, xlabel="updates", ylabel=ylabel or name)
    return _legend(ax)


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
    ax.set_ylim(*back(np.array(_padded(*limits))))
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


def _padded(low: float, high: float) -> tuple[float, float]:
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
            how: dict[str, Any] = {"textcoords": "offset points", "ha": "right"}
            how |= {"gid": MARK, "va": "bottom" if edge == 0 else "top", "color": "0.3"}
            at, apart = (1, edge), (-6, 8 if edge == 0 else -8)
            text = f"beyond the axis: {words} {most(extremes):.2g}"
            ax.annotate(text, at, apart, "axes fraction", fontsize="small", **how)


def _axes(ax: "Axes | None") -> "Axes":
    return _pyplot().subplots(layout="constrained")[1] if ax is None else ax


def _pyplot() -> Any:
    return need("matplotlib.pyplot")


def _ranked(name: str, lines: Mapping[str, Any], ax: "Axes", *, log: bool) -> "Axes":
    """Each label's numbers from the largest; what a scale cannot show leaves a gap."""
    for (label, line), style in zip(lines.items(), _styles(lines), strict=True):
        line = np.asarray(line, float)
        _check(f"{name}[{label!r}]", line, (line.size,), "of one row")
        ordered = -np.sort(-line)
        shown = np.isfinite(ordered) & ((ordered > 0) | (not log))
        ordered = np.where(shown, ordered, np.nan)
        ax.plot(np.arange(1, len(ordered) + 1), ordered, label=label, **style)
    ax.set_yscale("log" if log else "linear")
    ax.grid(alpha=0.3)
    clip_outliers(ax, at_least=1.0)
    return ax


def _heat(ax, values, words, title, units, colours, low, high, label) -> "Axes":
    values = np.asarray(values)
    units = range(values.shape[-1]) if units is None else units
    _check("values", values, (len(words), len(units)), "words across, units down")
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
    _word_axis(ax, words)
    ax.set_yticks(range(len(units)), [str(unit) for unit in units])
    ax.set_title(title, loc="left")
    ax.set_ylabel("unit")
    return ax


def _word_axis(ax: "Axes", words: Sequence[str]) -> None:
    ax.set_xticks(
        range(len(words)), words, rotation=50, ha="right", rotation_mode="anchor"
    )


def _styles(lines: Mapping) -> list[dict]:
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


def _legend(ax: "Axes", title: str | None = None) -> "Axes":
    """Beside the axes, where it covers no data."""
    how = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "frameon": False}
    ax.legend(title=title, alignment="left", **how)
    return ax


def _check(name: str, values: Any, shape: tuple, meaning: str) -> None:
    if np.shape(values) != shape:
        raise ValueError(
            f"{name}: expected {list(shape)}, {meaning}, got {list(np.shape(values))}."
        )

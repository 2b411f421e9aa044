"""What tells two sequences apart."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn.plot._axes import pyplot
from jaxrnn.plot._gates import gates, state
from jaxrnn.plot._traces import traces

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        >>> values = jaxrnn.cells.GRUGates(*jnp.full((3, 1, 2), 0.5))
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
    figure = pyplot().figure(figsize=(10, 1 + 2 * rows), layout="constrained")
    axes = list(figure.subplots(rows, sharex=True))
    lines = {
        label: np.asarray(memory)[:, units[0]] for label, memory in memories.items()
    }
    traces(lines, words, title=f"{name} of unit {units[0]}", ylabel=name, ax=axes[0])
    state(other[:, units], words, title=name, units=units, ax=axes[1])
    chosen = type(values)(*(np.asarray(value)[:, units] for value in values))
    return axes[:2] + gates(chosen, words, units=units, axes=axes[2:])

"""Layers as lists of a library's weights, and pairs of them for two directions."""

from collections.abc import Callable
from typing import Any


def nested(
    name: str, weights: Any, read: Callable, *, layer: Callable | None = None
) -> list:
    """Layers from a list with one entry per layer, or from one layer.

    Args:
        name: what errors call `weights`.
        weights: one layer or a list of them; a layer is one cell's weights or a tuple
            of two, forward and backward.
        read: ``(name, weights) -> params`` of one cell.
        layer: ``weights -> tuple or None``: other forms of a bidirectional layer.
    """

    def one(name, entry):
        both = layer(entry) if layer else None
        if both is None and isinstance(entry, tuple):
            both = entry
        if both is None:
            return (read(name, entry),)
        if len(both) != 2:
            raise ValueError(
                f"{name}: expected (forward, backward) for a bidirectional layer, "
                f"got {len(both)} entries."
            )
        ways = zip((f"{name} forward", f"{name} backward"), both, strict=True)
        return tuple(read(*way) for way in ways)

    if not isinstance(weights, list) or len(weights) == 1:
        return [one(name, weights[0] if isinstance(weights, list) else weights)]
    return [one(f"{name}[{n}]", entry) for n, entry in enumerate(weights)]


def unnested(layers: list, write: Callable, *, both: Callable = tuple) -> Any:
    """The inverse of `nested`: a list for two layers or more, else the one.

    Args:
        layers: as in `Layers.params`.
        write: one cell's params -> its weights.
        both: two directions' weights -> a layer's.
    """
    made = [
        write(layer[0]) if len(layer) == 1 else both([write(p) for p in layer])
        for layer in layers
    ]
    return made[0] if len(made) == 1 else made

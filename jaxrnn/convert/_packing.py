"""Gates packed along the last axis: apart, together, and in another order."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrnn.convert._kind import Kind, Layout


def split(gates: Any, count: int) -> list[np.ndarray]:
    """The gates of a packed kernel or bias ``[..., count * H]``."""
    return np.split(gates, count, axis=-1)


def pack(*gates: Any) -> np.ndarray:
    """The inverse of `split`."""
    return np.concatenate(gates, axis=-1)


def reordered(gates: Any, order: str, target: str) -> np.ndarray:
    """A packed kernel or bias in another order of its gates, a letter each.

    An array that is not packed so stays as it is: its shape is refused later.
    """
    if order == target or not gates.ndim or gates.shape[-1] % len(order):
        return gates
    apart = dict(zip(order, split(gates, len(order)), strict=True))
    return pack(*(apart[letter] for letter in target))


def taken_out(bias: np.ndarray, order: str, gates: Mapping[str, str]) -> tuple:
    """A bias with zeros in place of some gates, and these gates by their fields.

    Args:
        bias: ``[G H]``.
        order: its gates, a letter each.
        gates: gate -> field, from `Kind.second_biases`.
    """
    apart = dict(zip(order, split(bias, len(order)), strict=True))
    rest = [np.zeros_like(a) if gate in gates else a for gate, a in apart.items()]
    return pack(*rest), {field: apart[gate] for gate, field in gates.items()}


def put_in(params: Any, order: str, gates: Mapping[str, str]) -> np.ndarray:
    """The second bias ``[G H]`` of a library that has two: zeros but for some gates.

    Args:
        params: one cell's.
        order: the gates of its ``b``, a letter each.
        gates: gate -> field, from `Kind.second_biases`.
    """
    zeros = split(np.zeros_like(params.b), len(order))
    return pack(
        *(
            getattr(params, gates[gate]) if gate in gates else zero
            for gate, zero in zip(order, zeros, strict=True)
        )
    )


def added(kind: Kind, layout: Layout, hidden: int, dtype: Any) -> np.ndarray:
    """What a library adds to the biases at run time, ``[G H]``."""
    numbers = [layout.added.get(gate, 0.0) for gate in kind.gates]
    return np.repeat(np.array(numbers, dtype), hidden)

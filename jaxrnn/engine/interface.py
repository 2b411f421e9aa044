"""What an engine is: one way to run a cell over time."""

from collections.abc import Callable
from typing import NamedTuple


class Engine(NamedTuple):
    """One way to run a cell that has no ``unroll`` of its own.

    All engines mean the same in value, gradient and every transformation.

    Fields:
        name: what `jaxrnn.unroll` calls it.
        supports: ``(cell, control) -> None``, or the reason why it cannot run this cell.
        unroll: ``(cell, params, carry, xs, control) -> (carry, hs)``. It raises
            `Declined` for what shows only here.
    """

    name: str
    supports: Callable
    unroll: Callable


class Declined(Exception):
    """Raised by an engine's ``unroll`` with the reason why it cannot run this cell."""

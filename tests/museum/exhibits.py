"""What a test of the museum is: a fault that was real, and how to plant it."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.mutants.planting import Fault


class Exhibit(NamedTuple):
    """Fields:
    number: in the order of the page.
    where: the issues and commits in which it was read: "owner/repo#1", "owner/repo@abc",
        or words.
    path: of the module in which it is planted.
    fault: what is planted.
    """

    number: int
    where: tuple[str, ...]
    path: str
    fault: Fault


def exhibit(number: int, *where: str, plant: tuple[str, str, str, str]) -> Callable:
    """Marks a test as the guard against a fault, which its docstring describes.

    `plant` is the path of a module, and the function, old and new of a `Fault`.
    """

    def mark(test):
        path, *place = plant
        name = f"museum {number}: {test.__name__[5:].replace('_', ' ')}"
        test.exhibit = Exhibit(number, where, path, Fault(name, *place))
        return pytest.mark.slow(test)  # the laws are what the quick suite has

    return mark

"""What a test of the museum is: a fault that was real, and how to plant it."""

from collections.abc import Callable
from typing import NamedTuple


class Exhibit(NamedTuple):
    """Fields:
    number: in the order of the page.
    where: the issues and commits in which it was read: "owner/repo#1", "owner/repo@abc",
        or words.
    path: of the module in which it is planted.
    old, new: a piece of its source that occurs once, and what stands there instead.
    """

    number: int
    where: tuple[str, ...]
    path: str
    old: str
    new: str


def exhibit(number: int, *where: str, plant: tuple[str, str, str]) -> Callable:
    """Marks a test as the guard against a fault, which its docstring describes."""

    def mark(test):
        test.exhibit = Exhibit(number, where, *plant)
        return test

    return mark

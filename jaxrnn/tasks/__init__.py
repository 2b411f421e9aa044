"""Standard sequence tasks, each a pure function of a key."""

from jaxrnn.tasks import (
    adding,
    agreement,
    copying,
    counting,
    digits,
    formal,
    multiplication,
    reber,
    temporal_order,
    word_problem,
)
from jaxrnn.tasks.batch import Batch

__all__ = [
    "Batch",
    "adding",
    "agreement",
    "copying",
    "counting",
    "digits",
    "formal",
    "multiplication",
    "reber",
    "temporal_order",
    "word_problem",
]

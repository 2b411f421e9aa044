"""Functions that make cells from cells."""

from jaxrnn.compose.carries import LearnedCarryParams, learned_carry, with_carries
from jaxrnn.compose.directions import (
    BidirectionalCarry,
    BidirectionalParams,
    bidirectional,
)
from jaxrnn.compose.layers import layers_of as layers_of
from jaxrnn.compose.layers import residual, skip, stack
from jaxrnn.compose.memoryless import pointwise

__all__ = [
    "BidirectionalCarry",
    "BidirectionalParams",
    "LearnedCarryParams",
    "bidirectional",
    "learned_carry",
    "pointwise",
    "residual",
    "skip",
    "stack",
    "with_carries",
]

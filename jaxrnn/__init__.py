"""Recurrent networks for JAX: cells are pure functions, unrolled over time."""

from jaxrnn import initializers
from jaxrnn.cell import Cell, Control
from jaxrnn.cells.gru import GRUGates, GRUParams, gru
from jaxrnn.cells.lstm import LSTMCarry, LSTMGates, LSTMParams, lstm
from jaxrnn.cells.simple import SimpleRNNGates, SimpleRNNParams, simple_rnn
from jaxrnn.compose import (
    BidirectionalCarry,
    BidirectionalParams,
    LearnedCarryParams,
    bidirectional,
    learned_carry,
    residual,
    stack,
    with_carries,
)
from jaxrnn.gated import Gated, gated
from jaxrnn.precision import precision
from jaxrnn.unroll import unroll

__version__ = "0.1.0"

__all__ = [
    "BidirectionalCarry",
    "BidirectionalParams",
    "Cell",
    "Control",
    "GRUGates",
    "GRUParams",
    "Gated",
    "LSTMCarry",
    "LSTMGates",
    "LSTMParams",
    "LearnedCarryParams",
    "SimpleRNNGates",
    "SimpleRNNParams",
    "bidirectional",
    "gated",
    "gru",
    "initializers",
    "learned_carry",
    "lstm",
    "precision",
    "residual",
    "simple_rnn",
    "stack",
    "unroll",
    "with_carries",
]

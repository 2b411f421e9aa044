"""The cells, a room for each: its equations and its paper; its params, carry and gates."""

from jaxrnn.cells.gru import GRUGates, GRUParams
from jaxrnn.cells.lstm import LSTMCarry, LSTMGates, LSTMParams
from jaxrnn.cells.simple import SimpleRNNGates, SimpleRNNParams

__all__ = [
    "GRUGates",
    "GRUParams",
    "LSTMCarry",
    "LSTMGates",
    "LSTMParams",
    "SimpleRNNGates",
    "SimpleRNNParams",
]

"""Recurrent networks for JAX: cells are pure functions, unrolled over time."""

import importlib
from typing import TYPE_CHECKING

from jaxrnn import cells, initializers, noise
from jaxrnn._version import __version__ as __version__
from jaxrnn.cell import Cell, Control
from jaxrnn.cells.gru import gru
from jaxrnn.cells.lstm import lstm
from jaxrnn.cells.simple import simple_rnn
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
from jaxrnn.sequence import flip, last_output
from jaxrnn.sigmoid import sigmoid
from jaxrnn.unroll import unroll

__all__ = [
    "BidirectionalCarry",
    "BidirectionalParams",
    "Cell",
    "Control",
    "Gated",
    "LearnedCarryParams",
    "bidirectional",
    "cells",
    "flip",
    "gated",
    "gru",
    "initializers",
    "last_output",
    "learned_carry",
    "lstm",
    "noise",
    "precision",
    "residual",
    "sigmoid",
    "simple_rnn",
    "stack",
    "unroll",
    "with_carries",
]

# These parts need Flax, Optax or an extra, so they are imported when first used.
if TYPE_CHECKING:
    from jaxrnn import convert as convert
    from jaxrnn import linen as linen
    from jaxrnn import nnx as nnx
    from jaxrnn import plot as plot
    from jaxrnn import probe as probe
    from jaxrnn import tasks as tasks
    from jaxrnn import train as train
else:
    _LATER = ("convert", "linen", "nnx", "plot", "probe", "tasks", "train")

    def __getattr__(name: str):
        if name in _LATER:
            return importlib.import_module(f"jaxrnn.{name}")
        raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})

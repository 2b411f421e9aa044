"""Recurrent networks for JAX: cells are pure functions, unrolled over time."""

import importlib
from typing import TYPE_CHECKING

from jaxrnn import cells, initializers, noise
from jaxrnn._version import __version__ as __version__
from jaxrnn.cell import Cell, Control
from jaxrnn.cells.antisymmetric_rnn import antisymmetric_rnn
from jaxrnn.cells.conv_gru import conv_gru
from jaxrnn.cells.conv_lstm import conv_lstm
from jaxrnn.cells.cornn import cornn
from jaxrnn.cells.coupled_lstm import coupled_lstm
from jaxrnn.cells.dreamer_gru import dreamer_gru
from jaxrnn.cells.gru import gru
from jaxrnn.cells.ind_rnn import ind_rnn
from jaxrnn.cells.janet import janet
from jaxrnn.cells.layer_norm_gru import layer_norm_gru
from jaxrnn.cells.layer_norm_lstm import layer_norm_lstm
from jaxrnn.cells.leaky_rnn import leaky_rnn
from jaxrnn.cells.lem import lem
from jaxrnn.cells.lstm import lstm
from jaxrnn.cells.mgu import mgu
from jaxrnn.cells.peephole_lstm import peephole_lstm
from jaxrnn.cells.projected_lstm import projected_lstm
from jaxrnn.cells.simple import simple_rnn
from jaxrnn.cells.slstm import slstm
from jaxrnn.cells.ugrnn import ugrnn
from jaxrnn.compose import (
    BidirectionalCarry,
    BidirectionalParams,
    LearnedCarryParams,
    bidirectional,
    learned_carry,
    pointwise,
    residual,
    skip,
    stack,
    with_carries,
)
from jaxrnn.gated import Gated, gated
from jaxrnn.precision import precision
from jaxrnn.sequence import flip, last_output
from jaxrnn.sigmoid import sigmoid
from jaxrnn.unroll import unroll

# fmt: off
__all__ = [  # noqa: RUF022
    # what a cell is, and how it runs
    "Cell", "Control", "Gated", "gated", "unroll", "sigmoid", "precision",
    # cells
    "antisymmetric_rnn", "conv_gru", "conv_lstm", "cornn", "coupled_lstm", "dreamer_gru",
    "gru", "ind_rnn", "janet", "layer_norm_gru", "layer_norm_lstm", "leaky_rnn", "lem",
    "lstm", "mgu", "peephole_lstm", "projected_lstm", "simple_rnn", "slstm", "ugrnn",
    # cells from cells
    "BidirectionalCarry", "BidirectionalParams", "LearnedCarryParams", "bidirectional",
    "learned_carry", "pointwise", "residual", "skip", "stack", "with_carries",
    # sequences
    "flip", "last_output",
    # rooms
    "cells", "initializers", "noise",
]
# fmt: on

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

"""The cells, a room for each: its equations and its paper; its params, carry and gates."""

from jaxrnn.cells.antisymmetric_rnn import (
    AntisymmetricRNNGates,
    AntisymmetricRNNParams,
    GatedAntisymmetricRNNGates,
)
from jaxrnn.cells.conv_gru import ConvGRUParams, ResetBeforeConvGRUParams
from jaxrnn.cells.conv_lstm import ConvLSTMParams
from jaxrnn.cells.cornn import CoRNNCarry, CoRNNGates, CoRNNParams
from jaxrnn.cells.coupled_lstm import CoupledLSTMParams
from jaxrnn.cells.dreamer_gru import DreamerGRUParams
from jaxrnn.cells.gru import GRUGates, GRUParams, ResetBeforeGRUParams
from jaxrnn.cells.ind_rnn import IndRNNParams
from jaxrnn.cells.janet import JANETGates, JANETParams
from jaxrnn.cells.layer_norm_gru import LayerNormGRUParams
from jaxrnn.cells.layer_norm_lstm import LayerNormLSTMParams
from jaxrnn.cells.leaky_rnn import LeakyRNNGates, LeakyRNNParams
from jaxrnn.cells.lem import LEMGates, LEMParams
from jaxrnn.cells.lstm import LSTMCarry, LSTMGates, LSTMParams
from jaxrnn.cells.mgu import MGUGates, MGUParams, ResetBeforeMGUParams
from jaxrnn.cells.peephole_lstm import PeepholeLSTMParams
from jaxrnn.cells.projected_lstm import ProjectedLSTMParams
from jaxrnn.cells.simple import SimpleRNNGates, SimpleRNNParams
from jaxrnn.cells.slstm import SLSTMCarry, SLSTMGates, SLSTMParams
from jaxrnn.cells.ugrnn import UGRNNGates, UGRNNParams

__all__ = [
    "AntisymmetricRNNGates",
    "AntisymmetricRNNParams",
    "CoRNNCarry",
    "CoRNNGates",
    "CoRNNParams",
    "ConvGRUParams",
    "ConvLSTMParams",
    "CoupledLSTMParams",
    "DreamerGRUParams",
    "GRUGates",
    "GRUParams",
    "GatedAntisymmetricRNNGates",
    "IndRNNParams",
    "JANETGates",
    "JANETParams",
    "LEMGates",
    "LEMParams",
    "LSTMCarry",
    "LSTMGates",
    "LSTMParams",
    "LayerNormGRUParams",
    "LayerNormLSTMParams",
    "LeakyRNNGates",
    "LeakyRNNParams",
    "MGUGates",
    "MGUParams",
    "PeepholeLSTMParams",
    "ProjectedLSTMParams",
    "ResetBeforeConvGRUParams",
    "ResetBeforeGRUParams",
    "ResetBeforeMGUParams",
    "SLSTMCarry",
    "SLSTMGates",
    "SLSTMParams",
    "SimpleRNNGates",
    "SimpleRNNParams",
    "UGRNNGates",
    "UGRNNParams",
]

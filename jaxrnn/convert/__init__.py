"""Weights from and for other libraries, without importing them, and weight files.

Every ``from_*`` returns ``(cell, params)`` and every ``to_*`` takes them, for simple RNNs,
LSTMs and GRUs, stacked and bidirectional. What has no exact counterpart is a ValueError.
Every ``from_*`` takes ``dtype=``, the dtype of the params. Sums of two biases are made in
float64 and rounded once, and a number that overflows is a ValueError.
"""

from jaxrnn.convert.cudnn import from_cudnn, to_cudnn
from jaxrnn.convert.equinox import from_equinox, to_equinox
from jaxrnn.convert.files import load_safetensors, read_safetensors, save_safetensors
from jaxrnn.convert.flax import from_linen, from_nnx, to_linen, to_nnx
from jaxrnn.convert.haiku import from_haiku, to_haiku
from jaxrnn.convert.keras import from_keras, to_keras
from jaxrnn.convert.onnx import to_onnx
from jaxrnn.convert.onnx_nodes import OnnxRNN, from_onnx
from jaxrnn.convert.torch import from_torch, to_torch

__all__ = [
    "OnnxRNN",
    "from_cudnn",
    "from_equinox",
    "from_haiku",
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_onnx",
    "from_torch",
    "load_safetensors",
    "read_safetensors",
    "save_safetensors",
    "to_cudnn",
    "to_equinox",
    "to_haiku",
    "to_keras",
    "to_linen",
    "to_nnx",
    "to_onnx",
    "to_torch",
]

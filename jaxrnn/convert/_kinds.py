"""The table of the kinds of cells that other libraries have too.

A new kind is one entry in `KINDS`. Every direction of every library looks there.
"""

from typing import Any

import numpy as np

from jaxrnn.cells.conv_lstm import ConvLSTMParams, conv_lstm
from jaxrnn.cells.coupled_lstm import CoupledLSTMParams, coupled_lstm
from jaxrnn.cells.gru import GRUParams, ResetBeforeGRUParams, gru
from jaxrnn.cells.lstm import LSTMParams, lstm
from jaxrnn.cells.mgu import MGUParams, mgu
from jaxrnn.cells.peephole_lstm import PeepholeLSTMParams, peephole_lstm
from jaxrnn.cells.projected_lstm import ProjectedLSTMParams, projected_lstm
from jaxrnn.cells.simple import SimpleRNNParams, simple_rnn
from jaxrnn.cells.ugrnn import UGRNNParams, ugrnn
from jaxrnn.convert._kind import Field, Kind, Layout

RESETS_BEFORE = (
    "{library}'s GRU resets the memory {theirs} the recurrent matmul, and this one "
    "{ours} it. No weights make them equal: take gru(..., reset_after={option})"
)


def resets(library: str, before: bool) -> str:
    """Why a library has no such GRU: it resets `before` the matmul, or after it."""
    order = ("before", "after") if before else ("after", "before")
    return RESETS_BEFORE.format(
        library=library, theirs=order[0], ours=order[1], option=not before
    )


KINDS = (
    Kind(
        "simple_rnn",
        "simple RNN",
        SimpleRNNParams,
        simple_rnn,
        "h",
        {
            "torch": Layout("torch.nn.RNN", "h"),
            "Keras": Layout("keras.layers.SimpleRNN", "h"),
            "Linen": Layout("nn.SimpleCell", "h", form="sides", bias_on="i"),
            "NNX": Layout("nnx.SimpleCell", "h", form="sides", bias_on="i"),
            "Haiku": Layout("vanilla_rnn", "h", form="sides"),
            "ONNX": Layout("RNN", "h"),
        },
        untold=("activation",),
    ),
    Kind(
        "gru",
        "GRU",
        GRUParams,
        gru,
        "rzn",
        {
            "torch": Layout("torch.nn.GRU", "rzn", second_bias=True),
            "Keras": Layout("keras.layers.GRU", "zrn", second_bias=True),
            "Linen": Layout(
                "nn.GRUCell", "rzn", form="gates", bias_on="i", second_bias=True
            ),
            "NNX": Layout("nnx.GRUCell", "rzn", form="sides", bias_on="i"),
            "Equinox": Layout("eqx.nn.GRUCell", "rzn", {"bn": "bias_n"}),
            "ONNX": Layout("GRU", "zrn", second_bias=True),
        },
        lacks={"Haiku": resets("Haiku", before=True)},
        fields={"bn": Field(lambda sizes: (sizes["hidden"],), False, "bias of n", "n")},
        options={"reset_after": True},
    ),
    Kind(
        "gru, reset before",
        "GRU that resets before the matmul",
        ResetBeforeGRUParams,
        gru,
        "rzn",
        {
            "Keras": Layout("keras.layers.GRU(reset_after=False)", "zrn"),
            "Haiku": Layout("gru", "zrn", form="apart", negated="z"),
            "ONNX": Layout("GRU", "zrn"),
        },
        lacks={
            library: resets(library, before=False)
            for library in ("torch", "Linen", "NNX", "Equinox")
        },
        options={"reset_after": False},
    ),
    Kind(
        "mgu",
        "MGU",
        MGUParams,
        mgu,
        "fn",
        {
            "Linen": Layout(
                "nn.MGUCell", "fn", form="gates", bias_on="i", second_bias=True
            )
        },
        fields={"bn": Field(lambda sizes: (sizes["hidden"],), False, "bias of n", "n")},
        options={"reset_after": True},
    ),
    Kind(
        "ugrnn",
        "UGRNN",
        UGRNNParams,
        ugrnn,
        "zn",
        {
            "Linen": Layout(
                "nn.MGUCell(reset_gate=False)",
                "zn",
                form="gates",
                bias_on="i",
                letters={"z": "f"},
            )
        },
    ),
    Kind(
        "conv_lstm",
        "convolutional LSTM",
        ConvLSTMParams,
        conv_lstm,
        "ifgo",
        {
            "Keras": Layout("keras.layers.ConvLSTM", "ifgo"),
            "Linen": Layout(
                "nn.ConvLSTMCell", "igfo", form="convolutions", added={"f": 1.0}
            ),
            "Haiku": Layout(
                "conv_dlstm", "igfo", form="convolutions", added={"f": 1.0}
            ),
        },
        sizes=lambda weights: {
            "hidden": weights["wh"].shape[-2],
            "kernel": weights["wx"].shape[:-2],
            "recurrent_kernel": weights["wh"].shape[:-2],
        },
        untold=("strides", "padding", "dilation"),
        images=True,
    ),
    Kind(
        "projected_lstm",
        "projected LSTM",
        ProjectedLSTMParams,
        projected_lstm,
        "ifgo",
        {"torch": Layout("torch.nn.LSTM(proj_size=...)", "ifgo", {"wp": "weight_hr"})},
        fields={
            "wp": Field(
                lambda sizes: (sizes["hidden"], sizes["projection"]),
                True,
                "projection",
            )
        },
        sizes=lambda weights: {
            "hidden": len(weights["wp"]),
            "projection": len(weights["wh"]),
        },
    ),
    Kind(
        "lstm",
        "LSTM",
        LSTMParams,
        lstm,
        "ifgo",
        {
            "torch": Layout("torch.nn.LSTM", "ifgo"),
            "Keras": Layout("keras.layers.LSTM", "ifgo"),
            "Linen": Layout("nn.LSTMCell", "ifgo", form="gates", bias_on="h"),
            "NNX": Layout("nnx.LSTMCell", "ifgo", form="gates", bias_on="h"),
            "NNX optimized": Layout(
                "nnx.OptimizedLSTMCell", "ifgo", form="sides", bias_on="h"
            ),
            "Haiku": Layout("lstm", "igfo", form="joint", added={"f": 1.0}),
            "Equinox": Layout("eqx.nn.LSTMCell", "ifgo"),
            "cuDNN": Layout("jax.experimental.rnn.lstm", "ifgo"),
            "ONNX": Layout("LSTM", "iofg"),
        },
    ),
    Kind(
        "peephole_lstm",
        "peephole LSTM",
        PeepholeLSTMParams,
        peephole_lstm,
        "ifgo",
        {"ONNX": Layout("LSTM", "iofg", {"pi": "P", "po": "P", "pf": "P"})},
        fields={
            name: Field(lambda sizes: (sizes["hidden"],), True, f"peephole of {gate}")
            for name, gate in zip(("pi", "pf", "po"), "ifo", strict=True)
        },
    ),
    Kind(
        "coupled_lstm",
        "LSTM of coupled gates",
        CoupledLSTMParams,
        coupled_lstm,
        "igo",
        {"ONNX": Layout("LSTM", "iofg")},
    ),
)


def kind_of(params: Any) -> Kind | None:
    """The kind of one cell's params, by their type."""
    return next((kind for kind in KINDS if kind.params is type(params)), None)


def kinds_of(*libraries: str) -> list[tuple[Kind, Layout]]:
    """The kinds that a library has, and how it lays them out, in the table's order.

    Several libraries are read as one; a kind that two have comes twice.
    """
    return [
        (kind, kind.layouts[library])
        for kind in KINDS
        for library in libraries
        if library in kind.layouts
    ]


def layout_for(library: str, params: Any) -> tuple[Kind, Layout]:
    """The kind of one cell's params and its `Layout` in a library, to write them.

    Raises:
        ValueError: if the library has no such cell, or no place for some field.
    """
    kind = kind_of(params)
    assert kind is not None  # what is not in the table was refused before
    layout = kind.layouts.get(library)
    if layout is None:
        reason = kind.lacks.get(library, f"{library} has no {kind.name}")
        raise ValueError(f"cell: {reason}.")
    placed = {*layout.tensors, *kind.second_biases(layout).values()}
    for name, field in kind.fields.items():
        if name not in placed and np.any(getattr(params, name)):
            which = "recurrent " if field.gate is not None else ""
            raise ValueError(
                f"params.{name}: expected zeros, because {layout.cell} has no "
                f"{which}{field.title}."
            )
    return kind, layout

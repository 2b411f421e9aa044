"""Convolutional LSTMs of the libraries themselves, there and back.

In float32 to 1e-6, and in float64 to 1e-10.
"""

import importlib
import os

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn import convert
from tests.convert.libraries import draw, keras_as_it_is
from tests.convert.test_live import close
from tests.installed import need
from tests.laws.cases import assert_close, randomise
from tests.peers.runs import MODULES

T, B, F, H = 4, 2, 3, 2
SPACE = (7, 6, 5)
KERNEL = (3, 2, 1)


def keras_layer(n, options, dtype):
    os.environ["KERAS_BACKEND"] = "jax"
    layers = importlib.import_module("keras").layers
    family = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)[n - 1]
    names = dict(strides="strides", padding="padding", dilation="dilation_rate")
    options = {names[name]: value for name, value in options.items()}
    layer = family(H, KERNEL[:n], return_sequences=True, dtype=dtype, **options)
    layer.build((B, T, *SPACE[:n], F))

    def run(weights, xs):
        layer.set_weights(weights)
        with keras_as_it_is():
            return np.asarray(layer(xs.swapaxes(0, 1))).swapaxes(0, 1)

    return layer.get_weights(), run


def linen_layer(n, options, dtype):
    nn = importlib.import_module("flax.linen")
    module = nn.RNN(nn.ConvLSTMCell(H, KERNEL[:n], param_dtype=dtype), time_major=True)
    xs = np.zeros((T, B, *SPACE[:n], F), dtype)
    params = module.init(jax.random.key(0), xs)["params"]["cell"]
    run = lambda weights, xs: module.apply({"params": {"cell": weights}}, xs)
    return params, run


def haiku_layer(n, options, dtype):
    hk = importlib.import_module("haiku")
    family = (hk.Conv1DLSTM, hk.Conv2DLSTM, hk.Conv3DLSTM)[n - 1]

    def forward(xs):
        core = family(SPACE[:n], H, KERNEL[:n])
        start = jax.tree.map(np.dtype(dtype).type, core.initial_state(B))
        return hk.dynamic_unroll(core, xs, start)[0]

    network = hk.transform(forward)
    params = network.init(jax.random.PRNGKey(0), np.zeros((T, B, *SPACE[:n], F), dtype))
    return params, lambda weights, xs: network.apply(weights, None, xs)


LIBRARIES = {
    "keras": (keras_layer, convert.from_keras, convert.to_keras),
    "linen": (linen_layer, convert.from_linen, convert.to_linen),
    "haiku": (haiku_layer, convert.from_haiku, convert.to_haiku),
}
OPTIONS = {
    "as it comes": {},
    "strides": dict(strides=(2, 1, 2)),
    "same": dict(padding="same", strides=(1, 2, 1)),
    "dilation": dict(dilation=(1, 2, 1)),
}
CASES = [(lib, n, "as it comes", "float32") for lib in LIBRARIES for n in (1, 2, 3)]
CASES += [("keras", 2, name, "float32") for name in OPTIONS if name != "as it comes"]
CASES += [(library, 2, "as it comes", "float64") for library in LIBRARIES]


@pytest.mark.slow
@pytest.mark.parametrize(("library", "n", "options", "dtype"), CASES)
def test_there_and_back(library, n, options, dtype):
    need(MODULES[library].split(".")[0])
    make, take, give = LIBRARIES[library]
    options = {
        name: value if isinstance(value, str) else value[:n]
        for name, value in OPTIONS[options].items()
    }
    random = np.random.RandomState(n)
    weights, run = make(n, options, dtype)
    weights = draw(weights, random, dtype)
    xs = random.randn(T, B, *SPACE[:n], F).astype(dtype)
    cell, params = take(weights, **options)
    theirs = run(weights, xs)
    assert np.abs(theirs).max() > 0.1
    close(jaxrnn.unroll(cell, params, None, xs)[1], theirs, dtype)

    params = jax.tree.map(lambda a: np.asarray(a, dtype), randomise(1, params))
    given = give(cell, params)
    close(jaxrnn.unroll(cell, params, None, xs)[1], run(given, xs), dtype)
    again, back = take(given, **options)
    assert repr(again) == repr(cell)
    jax.tree.map(lambda a, b: close(a, b, dtype), back, params)


def test_what_a_library_lacks_is_refused():
    draws = lambda cell: (cell, cell.init(jax.random.key(0), F))
    cell, params = draws(jaxrnn.conv_lstm(H, (3, 2)))
    for give in (convert.to_torch, convert.to_nnx):
        with pytest.raises(ValueError, match="has no conv_lstm"):
            give(cell, params)
    strided = jaxrnn.conv_lstm(H, (3, 2), strides=(2, 1))
    for give in (convert.to_linen, convert.to_haiku):
        with pytest.raises(
            ValueError, match=r'strides and dilation of 1.*"SAME" alone'
        ):
            give(strided, params)
    sized = draws(jaxrnn.conv_lstm(H, (3, 2), recurrent_kernel=3))
    for give in (convert.to_linen, convert.to_haiku, convert.to_keras):
        with pytest.raises(ValueError, match="one kernel size for inputs and memory"):
            give(*sized)
    weights = convert.to_keras(cell, params)
    with pytest.raises(ValueError, match=r"\[\*kernel, F, 8\]"):
        convert.from_keras([weights[0][0], *weights[1:]])
    gru = draws(jaxrnn.conv_gru(H, (3, 2)))
    with pytest.raises(ValueError, match=r"conv_gru.* has no counterpart"):
        convert.to_keras(*gru)


def test_flaxs_and_haikus_forget_gates_have_one_more():
    """Which is part of the bias here, and no second bias."""
    cell = jaxrnn.conv_lstm(H, (3, 2))
    params = randomise(1, cell.init(jax.random.key(0), F))
    f = slice(H, 2 * H)  # the second of i, f, g, o
    tree = convert.to_linen(cell, params)
    np.testing.assert_allclose(tree["ih"]["bias"][2 * H : 3 * H], params.b[f] - 1)
    np.testing.assert_array_equal(tree["hh"]["bias"], 0)
    haiku = convert.from_haiku(convert.to_haiku(cell, params))
    for again, back in (convert.from_linen(tree), haiku):
        assert repr(again) == repr(cell)
        assert_close(back, params)

"""The libraries themselves: a network made in each, its weights out, others in, run.

A network is ``kind`` of cell, ``layers`` of them and ``ways``, 1 or 2 directions.
"""

import importlib
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import convert

T, B, F, H = 6, 3, 2, 4


class Network(NamedTuple):
    """A network of a library.

    Fields:
        weights: what the library's ``convert.from_*`` takes.
        run: ``(weights, xs [T, B, F]) -> hs``, by the library, with other weights of
            the same layout put in.
    """

    weights: Any
    run: Callable


class Library(NamedTuple):
    """A library.

    Fields:
        kinds: the cells that it has.
        make: ``(kind, layers, ways, random, dtype="float32") -> Network``.
        take: ``(weights, kind, ways) -> (cell, params)``.
        give: ``(cell, params, kind) -> weights``.
    """

    kinds: tuple
    make: Callable
    take: Callable
    give: Callable


def activation(kind: str) -> dict:
    return {"activation": kind.split("_")[1]} if "simple" in kind else {}


def residual(kind: str) -> dict:
    return {"residual": True} if "residual" in kind else {}


P = 3  # of a projection
CELLS = {
    "lstm": jaxrnn.lstm(H),
    "lstm_optimized": jaxrnn.lstm(H),
    "projected": jaxrnn.projected_lstm(H, P),
    "gru": jaxrnn.gru(H),
    "gru_before": jaxrnn.gru(H, reset_after=False),
    "mgu": jaxrnn.mgu(H),
    "mgu_unreset": jaxrnn.ugrnn(H),
}


def cell_of(kind: str, layers: int, ways: int) -> jaxrnn.Cell:
    cell = CELLS.get(kind) or jaxrnn.simple_rnn(H, **activation(kind))
    cell = jaxrnn.bidirectional(cell) if ways == 2 else cell
    return jaxrnn.stack(*[cell] * layers) if layers > 1 else cell


def draw(like: Any, random: np.random.RandomState, dtype: str = "float32") -> Any:
    """Every array of a tree drawn anew, biases too."""
    one = lambda a: (0.5 * random.randn(*np.shape(a))).astype(dtype)
    return jax.tree.map(one, like)


def inputs_of(layers: int, ways: int) -> list:
    return [F] + [ways * H] * (layers - 1)


def by_hand(one: Callable, weights: list, ways: int, xs: Any) -> Any:
    """Layers of a library that leaves them to its users, ``one(weights, xs, reverse)``."""
    for n in range(0, len(weights), ways):
        hs = [one(w, xs, bool(way)) for way, w in enumerate(weights[n : n + ways])]
        xs = jnp.concatenate(hs, -1)
    return xs


def torch_network(kind, layers, ways, random, dtype="float32"):
    torch = importlib.import_module("torch")
    families = {"projected": torch.nn.LSTM, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    family = families.get(kind, torch.nn.RNN)
    options = {"nonlinearity": kind.removeprefix("simple_")} if "simple" in kind else {}
    options |= {"proj_size": P} if kind == "projected" else {}
    module = family(F, H, num_layers=layers, bidirectional=ways == 2, **options)
    module = module.to(getattr(torch, dtype))

    def run(weights, xs):
        tensors = {name: torch.from_numpy(a) for name, a in weights.items()}
        module.load_state_dict(tensors)
        with warnings.catch_warnings():  # that a projection is not as fast
            warnings.simplefilter("ignore", UserWarning)
            return module(torch.tensor(np.array(xs)))[0].detach().numpy()

    state = {name: a.numpy() for name, a in module.state_dict().items()}
    return Network(draw(state, random, dtype), run)


def keras_as_it_is() -> Any:
    """On JAX, Keras rounds to float32 on the way, by a table's entry for float64."""
    promotion = importlib.import_module("keras.src.backend.common.dtypes")
    return mock.patch.dict(promotion.BIT64_TO_BIT32_DTYPE, {"float64": "float64"})


def keras_network(kind, layers, ways, random, dtype="float32"):
    os.environ["KERAS_BACKEND"] = "jax"
    keras = importlib.import_module("keras").layers
    family = {
        "lstm": keras.LSTM,
        "gru": keras.GRU,
        "gru_before": partial(keras.GRU, reset_after=False),
    }.get(kind, keras.SimpleRNN)
    made, weights = [], []
    for width in inputs_of(layers, ways):
        layer = family(H, return_sequences=True, dtype=dtype, **activation(kind))
        layer = keras.Bidirectional(layer, dtype=dtype) if ways == 2 else layer
        layer.build((B, T, width))
        made.append(layer)
        weights.append(draw(layer.get_weights(), random, dtype))

    def run(weights, xs):
        xs = xs.swapaxes(0, 1)
        several = weights if layers > 1 else [weights]
        for layer, arrays in zip(made, several, strict=True):
            layer.set_weights(arrays)
            with keras_as_it_is():
                xs = layer(xs)
        return np.asarray(xs).swapaxes(0, 1)

    return Network(weights if layers > 1 else weights[0], run)


def linen_network(kind, layers, ways, random, dtype="float32"):
    nn = importlib.import_module("flax.linen")
    family = {
        "lstm": nn.LSTMCell,
        "gru": nn.GRUCell,
        "mgu": nn.MGUCell,
        "mgu_unreset": partial(nn.MGUCell, reset_gate=False),
    }.get(kind, nn.SimpleCell)
    options = {"activation_fn": nn.relu} if kind == "simple_relu" else {}
    options |= residual(kind)
    options |= {"param_dtype": dtype}
    rnn = lambda: nn.RNN(family(H, **options), time_major=True)
    module = nn.Bidirectional(rnn(), rnn(), time_major=True) if ways == 2 else rnn()

    def run(weights, xs):
        for params in weights if layers > 1 else [weights]:
            tree = params if ways == 2 else {"cell": params}
            xs = module.apply({"params": tree}, xs)
        return xs

    weights = []
    for width in inputs_of(layers, ways):
        xs = jnp.zeros((T, B, width), dtype)
        params = draw(module.init(jax.random.key(0), xs)["params"], random, dtype)
        weights.append(params if ways == 2 else params["cell"])
    return Network(weights if layers > 1 else weights[0], run)


def nnx_network(kind, layers, ways, random, dtype="float32"):
    nnx = importlib.import_module("flax.nnx")
    family = {
        "lstm": nnx.LSTMCell,
        "lstm_optimized": nnx.OptimizedLSTMCell,
        "gru": nnx.GRUCell,
    }.get(kind, nnx.SimpleCell)
    options = {"activation_fn": nnx.relu} if kind == "simple_relu" else {}
    options |= residual(kind)
    options |= {"param_dtype": jnp.dtype(dtype), "dtype": jnp.dtype(dtype)}
    made, weights = [], []
    for width in inputs_of(layers, ways):
        cells = [family(width, H, rngs=nnx.Rngs(0), **options) for _ in range(ways)]
        rnns = [nnx.RNN(cell, time_major=True) for cell in cells]
        made.append(nnx.Bidirectional(*rnns, time_major=True) if ways == 2 else rnns[0])
        state = nnx.to_pure_dict(nnx.state(made[-1], nnx.Param))
        weights.append(draw(state if ways == 2 else state["cell"], random, dtype))

    def run(weights, xs):
        several = weights if layers > 1 else [weights]
        for module, tree in zip(made, several, strict=True):
            nnx.update(module, tree if ways == 2 else {"cell": tree})
            xs = module(xs)
        return xs

    return Network(weights if layers > 1 else weights[0], run)


def haiku_network(kind, layers, ways, random, dtype="float32"):
    hk = importlib.import_module("haiku")
    family = {"lstm": hk.LSTM, "gru_before": hk.GRU}.get(kind, hk.VanillaRNN)

    def forward(xs):
        def one(core, xs, reverse):
            start = jax.tree.map(jnp.dtype(dtype).type, core.initial_state(B))
            return hk.dynamic_unroll(core, xs, start, reverse=reverse)[0]

        return by_hand(one, [family(H) for _ in range(layers * ways)], ways, xs)

    network = hk.transform(forward)
    xs = jnp.zeros((T, B, F), dtype)
    params = network.init(jax.random.PRNGKey(0), xs)
    return Network(
        draw(params, random, dtype),
        lambda weights, xs: network.apply(weights, None, xs),
    )


def equinox_network(kind, layers, ways, random, dtype="float32"):
    eqx = importlib.import_module("equinox")
    family = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[kind]
    blank = [
        family(width, H, key=jax.random.key(0))
        for width in inputs_of(layers, ways)
        for _ in range(ways)
    ]

    def one(cell, xs, reverse):
        zeros = jnp.zeros((B, H), dtype)

        def step(state, x):
            state = jax.vmap(cell)(x, state)
            return state, state[0] if kind == "lstm" else state

        start = (zeros, zeros) if kind == "lstm" else zeros
        return jax.lax.scan(step, start, xs, reverse=reverse)[1]

    def put(cell, fields):
        where = lambda c: [getattr(c, name) for name in fields]
        return eqx.tree_at(where, cell, list(fields.values()))

    def run(weights, xs):
        several = weights if isinstance(weights, list) else [weights]
        flat = [w for e in several for w in (e if isinstance(e, tuple) else (e,))]
        if isinstance(flat[0], dict):
            flat = [put(c, fields) for c, fields in zip(blank, flat, strict=True)]
        return by_hand(one, flat, ways, xs)

    def draw_fields(cell, random):
        arrays, rest = eqx.partition(cell, eqx.is_array)
        return eqx.combine(jax.tree.map(jnp.asarray, draw(arrays, random, dtype)), rest)

    cells = [draw_fields(cell, random) for cell in blank]
    layered = [tuple(cells[n : n + ways]) for n in range(0, len(cells), ways)]
    weights = layered if ways == 2 else cells
    return Network(weights if layers > 1 else weights[0], run)


SIMPLE = ("simple_tanh", "simple_relu")
LIBRARIES = {
    "torch": Library(
        (*SIMPLE, "lstm", "projected", "gru"),
        torch_network,
        lambda weights, kind, ways: convert.from_torch(weights, **activation(kind)),
        lambda cell, params, kind: convert.to_torch(cell, params),
    ),
    "keras": Library(
        (*SIMPLE, "lstm", "gru", "gru_before"),
        keras_network,
        lambda weights, kind, ways: convert.from_keras(weights, **activation(kind)),
        lambda cell, params, kind: convert.to_keras(cell, params),
    ),
    "linen": Library(
        (*SIMPLE, "simple_tanh_residual", "lstm", "gru", "mgu", "mgu_unreset"),
        linen_network,
        lambda weights, kind, ways: convert.from_linen(
            weights, **activation(kind), **residual(kind)
        ),
        lambda cell, params, kind: convert.to_linen(cell, params, **residual(kind)),
    ),
    "nnx": Library(
        (*SIMPLE, "simple_tanh_residual", "lstm", "lstm_optimized", "gru"),
        nnx_network,
        lambda weights, kind, ways: convert.from_nnx(
            weights, **activation(kind), **residual(kind)
        ),
        lambda cell, params, kind: convert.to_nnx(
            cell, params, optimized=kind == "lstm_optimized", **residual(kind)
        ),
    ),
    "haiku": Library(
        ("simple_relu", "lstm", "gru_before"),
        haiku_network,
        lambda weights, kind, ways: convert.from_haiku(weights, bidirectional=ways > 1),
        lambda cell, params, kind: convert.to_haiku(cell, params),
    ),
    "equinox": Library(
        ("lstm", "gru"),
        equinox_network,
        lambda weights, kind, ways: convert.from_equinox(weights),
        lambda cell, params, kind: convert.to_equinox(cell, params),
    ),
}
PAIRS = [(name, kind) for name, lib in LIBRARIES.items() for kind in lib.kinds]

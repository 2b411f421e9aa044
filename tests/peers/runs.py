"""Runs the peers on a case: their values and gradients, in jaxrnn's layout.

One function per peer, ``(name, case) -> Result``. A peer is imported where it runs, so
that any of them may be missing. Those written in JAX are differentiated through the map
of their weights; torch's own gradients go back through the map's transpose.
"""

import importlib
import os
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cells import GRUParams, LSTMCarry, LSTMParams, SimpleRNNParams
from tests.peers.cases import (
    BATCH,
    FEATURES,
    HIDDEN,
    STEPS,
    Case,
    Result,
    differentiate,
    lengths_of,
)
from tests.peers.maps import MAPS, flax_carry, from_flax_carry

MODULES = {
    "torch": "torch",
    "keras": "keras",
    "linen": "flax.linen",
    "linen_optimized": "flax.linen",
    "nnx": "flax.nnx",
    "nnx_optimized": "flax.nnx",
    "haiku": "haiku",
    "equinox": "equinox",
}


def load(peer: str) -> Any:
    """Imports a peer, Keras with its JAX backend."""
    if peer == "keras":
        os.environ["KERAS_BACKEND"] = "jax"
    module = importlib.import_module(MODULES[peer])
    if peer == "keras" and module.backend.backend() != "jax":
        raise RuntimeError("keras: imported before with another backend than jax.")
    return module


def run(peer: str, name: str, case: Case) -> Result:
    return RUN[peer](name, case)


def run_torch(name, case):
    torch = load("torch")
    kind, *form = name.split()
    lengths = lengths_of(name)
    directions = 2 if "bidirectional" in form else 1

    def is_part(node):  # of a stack or of a bidirectional cell
        return isinstance(node, SimpleRNNParams | LSTMParams | GRUParams | LSTMCarry)

    def to_torch(params, carry):
        """Layer by layer, each forwards and backwards; states [layers, B, H]."""
        weights = {}
        for index, part in enumerate(jax.tree.leaves(params, is_leaf=is_part)):
            way = "_reverse" if index % directions else ""
            for key, a in MAPS["torch"][kind](part).items():
                weights[f"{key}_l{index // directions}{way}"] = a
        return weights, state_to_torch(carry)

    def state_to_torch(carry):
        parts = jax.tree.leaves(carry, is_leaf=is_part)
        parts = [tuple(c) if kind == "lstm" else (c,) for c in parts]
        return tuple(jnp.stack(a) for a in zip(*parts, strict=True))

    def state_from_torch(state):
        parts = zip(*state, strict=True)
        parts = [LSTMCarry(*p) if kind == "lstm" else p[0] for p in parts]
        return jax.tree.structure(case.carry, is_leaf=is_part).unflatten(parts)

    def tensor(a):
        return torch.tensor(np.array(a), requires_grad=True)

    def array(t):
        return jnp.asarray(t.detach().numpy())

    (weights, state), back = jax.vjp(to_torch, case.params, case.carry)
    options = {"nonlinearity": kind.removeprefix("simple_")} if "simple" in kind else {}
    family = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(kind, torch.nn.RNN)
    module = family(
        FEATURES,
        HIDDEN,
        num_layers=len(state[0]) // directions,
        bidirectional=directions == 2,
        dtype=getattr(torch, case.xs.dtype.name),
        **options,
    )
    module.load_state_dict({key: tensor(a) for key, a in weights.items()})

    start, xs = [tensor(a) for a in state], tensor(case.xs)
    inputs = xs
    if lengths is not None:
        inputs = torch.nn.utils.rnn.pack_padded_sequence(
            xs, torch.tensor(lengths), enforce_sorted=False
        )
    hs, last = module(inputs, tuple(start) if kind == "lstm" else start[0])
    if lengths is not None:
        hs, _ = torch.nn.utils.rnn.pad_packed_sequence(hs, total_length=STEPS)
    last = last if kind == "lstm" else (last,)

    outs, cotangents = (hs, *last), (case.dhs, *state_to_torch(case.dcarry))
    torch.autograd.backward(outs, [tensor(a).detach() for a in cotangents])
    dweights = {key: array(p.grad) for key, p in module.named_parameters()}
    dparams, dcarry = back((dweights, tuple(array(t.grad) for t in start)))
    final = state_from_torch([array(t) for t in last])
    return Result(final, array(hs), (dparams, dcarry, array(xs.grad)))


def run_keras(name, case):
    """On JAX, Keras takes float64 weights but rounds to float32 on the way (its type
    promotion has a table for that), so that entry of the table is switched off here."""
    layers = load("keras").layers
    promotion = importlib.import_module("keras.src.backend.common.dtypes")
    as_it_is = {"float64": "float64"}
    family = {"lstm": layers.LSTM, "gru": layers.GRU}.get(name, layers.SimpleRNN)
    options = {"activation": name.removeprefix("simple_")} if "simple" in name else {}
    layer = family(
        HIDDEN,
        return_sequences=True,
        return_state=True,
        dtype=case.xs.dtype.name,
        **options,
    )
    layer.build((BATCH, STEPS, FEATURES))

    def forward(params, carry, xs):
        weights = MAPS["keras"][name](params)
        state = list(carry) if name == "lstm" else [carry]
        with mock.patch.dict(promotion.BIT64_TO_BIT32_DTYPE, as_it_is):
            (hs, *state), _ = layer.stateless_call(
                [weights[v.name] for v in layer.trainable_variables],
                [v.value for v in layer.non_trainable_variables],
                xs.swapaxes(0, 1),
                initial_state=state,
            )
        return LSTMCarry(*state) if name == "lstm" else state[0], hs.swapaxes(0, 1)

    return differentiate(forward, case)


def run_linen(name, case, peer="linen"):
    linen = load("linen")
    family, options = {
        ("linen", "simple_tanh"): (linen.SimpleCell, {}),
        ("linen", "simple_relu"): (linen.SimpleCell, {"activation_fn": linen.relu}),
        ("linen", "lstm"): (linen.LSTMCell, {}),
        ("linen", "gru"): (linen.GRUCell, {}),
        ("linen_optimized", "lstm"): (linen.OptimizedLSTMCell, {}),
    }[peer, name]
    layer = linen.RNN(family(HIDDEN, **options), time_major=True, return_carry=True)

    def forward(params, carry, xs):
        weights = {"params": {"cell": MAPS[peer][name](params)}}
        carry, hs = layer.apply(weights, xs, initial_carry=flax_carry(carry))
        return from_flax_carry(carry), hs

    return differentiate(forward, case)


def run_nnx(name, case, peer="nnx"):
    nnx = load("nnx")
    family, options = {
        ("nnx", "simple_tanh"): (nnx.SimpleCell, {}),
        ("nnx", "simple_relu"): (nnx.SimpleCell, {"activation_fn": nnx.relu}),
        ("nnx", "lstm"): (nnx.LSTMCell, {}),
        ("nnx", "gru_bn0"): (nnx.GRUCell, {}),
        ("nnx_optimized", "lstm"): (nnx.OptimizedLSTMCell, {}),
    }[peer, name]

    dtype = case.xs.dtype  # SimpleCell computes in float32 unless told

    def forward(params, carry, xs):
        cell = family(FEATURES, HIDDEN, dtype=dtype, rngs=nnx.Rngs(0), **options)
        for layer, weights in MAPS[peer][name](params).items():
            for key, a in weights.items():
                setattr(getattr(cell, layer), key, nnx.Param(a))
        layer = nnx.RNN(cell, time_major=True, return_carry=True)
        carry, hs = layer(xs, initial_carry=flax_carry(carry))
        return from_flax_carry(carry), hs

    return differentiate(forward, case)


def run_haiku(name, case):
    hk = load("haiku")
    family = {"simple_relu": hk.VanillaRNN, "lstm": hk.LSTM}[name]
    layer = hk.transform(lambda xs, carry: hk.dynamic_unroll(family(HIDDEN), xs, carry))

    def forward(params, carry, xs):
        state = hk.LSTMState(hidden=carry.h, cell=carry.c) if name == "lstm" else carry
        hs, state = layer.apply(MAPS["haiku"][name](params), None, xs, state)
        if name == "lstm":
            return LSTMCarry(h=state.hidden, c=state.cell), hs
        return state, hs

    return differentiate(forward, case)


def run_equinox(name, case):
    eqx = load("equinox")
    family = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[name]
    blank = family(FEATURES, HIDDEN, key=jax.random.key(0))

    def forward(params, carry, xs):
        weights = MAPS["equinox"][name](params)
        cell = eqx.tree_at(
            lambda cell: [getattr(cell, key) for key in weights],
            blank,
            list(weights.values()),
        )

        def step(state, x):
            state = jax.vmap(cell)(x, state)
            return state, state[0] if name == "lstm" else state

        state, hs = jax.lax.scan(step, tuple(carry) if name == "lstm" else carry, xs)
        return LSTMCarry(*state) if name == "lstm" else state, hs

    return differentiate(forward, case)


RUN = {
    "torch": run_torch,
    "keras": run_keras,
    "linen": run_linen,
    "linen_optimized": partial(run_linen, peer="linen_optimized"),
    "nnx": run_nnx,
    "nnx_optimized": partial(run_nnx, peer="nnx_optimized"),
    "haiku": run_haiku,
    "equinox": run_equinox,
}

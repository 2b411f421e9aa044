"""What is given in place of weights: the error's own code makes weights of it."""

import importlib
import itertools
import re

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import jaxrnn
import jaxrnn.linen
import jaxrnn.nnx
from jaxrnn import convert, train
from tests.installed import need
from tests.laws import cases

F, H = 3, 4
LSTM, GRU = jaxrnn.lstm(H), jaxrnn.gru(H)
PARAMS = cases.randomise(1, LSTM.init(jax.random.key(0), F))
STATE = convert.to_torch(LSTM, PARAMS)


def prefixed(prefix, **more):
    return {f"{prefix}{name}": a for name, a in STATE.items()} | more


def message(take, *args, **options):
    with pytest.raises(ValueError) as caught:
        take(*args, **options)
    return str(caught.value)


def mended(said, **given):
    """What the code at the end of an error gives: ``call ...`` or ``give ...``."""
    code = re.search(r".*(?:call|give) ([^;]*?)(?: or .*|; .*)?\.$", said)[1]
    return eval(code, {"from_torch": convert.from_torch, "np": np, **given})


class Module:
    def __init__(self, state):
        self.state_dict = lambda: state


MANY = {"epoch": 3, 1: "a name that does not sort"}
TORCH = {  # state dict -> what the error says of it
    "DataParallel": (prefixed("module."), "a prefix .*DataParallel"),
    "torch.compile": (prefixed("_orig_mod."), "a prefix .*torch.compile"),
    "a model": (prefixed("encoder.rnn.", **{"out.bias": np.ones(2)}), "a prefix"),
    "an average": (prefixed("module.", n_averaged=np.ones(())), "a prefix"),
    "a checkpoint": (MANY | {"state_dict": STATE}, "a whole checkpoint"),
    "a deep one": (MANY | {"a": {"b": prefixed("rnn.")}}, "a whole checkpoint"),
    "other names": (STATE | {"out.weight": np.ones((2, 4))}, "beside the RNN's"),
    "weight dropout": (
        {f"module.{n}": 0 * a for n, a in STATE.items()}
        | {f"module.{n}": a for n, a in STATE.items() if n != "weight_hh_l0"}
        | {"weight_hh_l0_raw": STATE["weight_hh_l0"]},
        "'weight_hh_l0_raw' comes from weight dropout",
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_the_code_in_an_error_of_from_torch_mends_it(name):
    state, what = TORCH[name]
    said = message(convert.from_torch, state)
    assert re.search(what, said)
    made = mended(said, state_dict=state)
    cell, params = made if isinstance(made, tuple) else convert.from_torch(made)
    assert repr(cell) == repr(LSTM)
    cases.assert_same_bits(params, PARAMS)


def test_which_of_several_networks():
    state = prefixed("a.") | prefixed("b.", step=np.ones(()))
    for prefix in ("", "rnn.", "a"):
        said = message(convert.from_torch, state, prefix=prefix)
        assert "prefix='a.') or from_torch(state_dict, prefix='b.')" in said
    said = message(convert.from_torch, {"model": state})
    assert "from_torch(state_dict['model'], prefix='b.')" in said


REFUSED = {
    "an optimizer": ({"state": {}, "param_groups": []}, "the state of an optimizer"),
    "a module": (Module(STATE), r"Give its \.state_dict\(\)"),
    "a module in a checkpoint": ({"net": Module(STATE)}, r"\['net'\]\.state_dict\(\)"),
    "LoRA": (STATE | {"lora_A.weight": np.ones((2, 3))}, "LoRA.*merge_and_unload"),
    "quantised": ({"0._all_weight_values.0.param": None}, "a quantised module"),
    "integers": (
        {name: a.astype(np.int8) for name, a in STATE.items()},
        "got int8.*If the module is quantised",
    ),
    "a projection that is not read": (
        STATE | {"weight_hr_l0": np.ones((2, 4))},
        r"expected a projection \[4, 4\], got \[4, 2\]",
    ),
    "one bias of two": (
        {name: a for name, a in STATE.items() if name != "bias_hh_l0"},
        r"\['bias_hh_l0'\] is missing. If there was none, give state_dict \| \{",
    ),
    "no recurrent weights": (
        {name: a for name, a in STATE.items() if name != "weight_hh_l0"},
        r"\['weight_hh_l0'\] is missing\.$",
    ),
    "a bias of one layer": (
        STATE | {n.replace("l0", "l1"): a for n, a in STATE.items() if "hh" not in n},
        "'bias_hh_l1' is missing",
    ),
    "our params": (PARAMS, "LSTMParams is jaxrnn's own"),
    "weight norm in another module": (
        prefixed("rnn.", **{"out.weight_g": np.ones(2)}),
        r"prefix='rnn\.'\)\.$",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_from_torch_names(name):
    state, what = REFUSED[name]
    assert re.search(what, message(convert.from_torch, state))


def test_a_missing_bias_is_zeros():
    bare = {name: a for name, a in STATE.items() if name != "bias_hh_l0"}
    made = mended(message(convert.from_torch, bare), state_dict=bare)
    cases.assert_same_bits(convert.from_torch(made)[1], PARAMS)


@pytest.mark.parametrize(
    ("way", "what"),
    [
        ("weight_norm", "torch.nn.utils.weight_norm"),
        ("spectral_norm", "torch.nn.utils.spectral_norm"),
        ("parametrizations.weight_norm", "a parametrization"),
        ("parametrizations.spectral_norm", "a parametrization"),
        ("prune.random_unstructured", "pruning"),
    ],
)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("prefix", ["", "net.rnn."])
def test_torch_undoes_what_it_put_in_place_of_a_weight(way, what, prefix):
    need("torch")
    import torch

    importlib.import_module("torch.nn.utils.prune")
    rnn = torch.nn.GRU(F, H, bidirectional=True)
    plain = list(rnn.state_dict())
    module = rnn
    if prefix:
        module = torch.nn.ModuleDict({"net": torch.nn.ModuleDict({"rnn": rnn})})
    change = torch.nn.utils
    for part in way.split("."):
        change = getattr(change, part)
    options = {"amount": 0.5} if "prune" in way else {}
    change(rnn, "weight_hh_l0_reverse", **options)
    said = message(convert.from_torch, module.state_dict(), prefix=prefix)
    assert what in said
    code = re.search(r"call (torch\.[^ ]* [^ ]*),", said)[1]
    eval(code, {"torch": torch, "module": module})
    _, params = convert.from_torch(module.state_dict(), prefix=prefix)
    used = {name: getattr(rnn, name) for name in plain}
    cases.assert_close(params, convert.from_torch(used)[1], 1e-6)


LINEN = convert.to_linen(LSTM, PARAMS)
BOTH = jaxrnn.bidirectional(GRU)
BOTH_PARAMS = cases.randomise(2, BOTH.init(jax.random.key(0), F))
NNX = {"cell": convert.to_nnx(LSTM, PARAMS)}
HAIKU = convert.to_haiku(LSTM, PARAMS)
EQUINOX = convert.to_equinox(LSTM, PARAMS)
KERAS = convert.to_keras(LSTM, PARAMS)
DENSE = {"kernel": np.ones((H, 2)), "bias": np.ones(2)}


def trained(params):
    return TrainState.create(apply_fn=None, params=params, tx=optax.adam(1e-3))


TREES = {  # what is given, and the place of the weights in it
    "variables": (convert.from_linen, {"params": LINEN}, "params['params']"),
    "an RNN's": (
        convert.from_linen,
        {"params": {"cell": LINEN}, "batch_stats": {"x": np.ones(3)}},
        "params['params']",
    ),
    "frozen": (convert.from_linen, flax.core.freeze({"params": LINEN}), "['params']"),
    "a model": (
        convert.from_linen,
        {"Dense_0": DENSE, "RNN_0": {"cell": LINEN}},
        "give params['RNN_0'].",
    ),
    "both ways": (
        convert.from_linen,
        {"Dense_0": DENSE, "rnn": convert.to_linen(BOTH, BOTH_PARAMS)},
        "give params['rnn'].",
    ),
    "a TrainState": (convert.from_linen, trained(LINEN), "give params.params."),
    "one of variables": (
        convert.from_linen,
        trained({"params": {"Dense_0": DENSE, "rnn": LINEN}}),
        "give params.params['params']['rnn'].",
    ),
    "an nnx model": (
        convert.from_nnx,
        nnx.State({"rnn": NNX, "out": DENSE}),
        "give state['rnn'].",
    ),
    "an nnx split": (convert.from_nnx, (object(), NNX), "give state[1]."),
    "a haiku state": (convert.from_haiku, trained(HAIKU), "give params.params."),
    "a haiku checkpoint": (
        convert.from_haiku,
        {"params": HAIKU | {"linear": {"w": np.ones(3)}}, "step": 3},
        "params['params']",
    ),
    "equinox fields": (convert.from_equinox, {"low": EQUINOX}, "give cells['low']."),
    "keras layers by name": (
        convert.from_keras,
        {"lstm": KERAS, "dense": [np.ones((4, 2)), np.ones(2)]},
        "give weights['lstm'].",
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_where_in_a_tree_the_weights_are(name):
    take, tree, place = TREES[name]
    said = message(take, tree)
    assert place in said
    names = {"params": tree, "state": tree, "cells": tree, "weights": tree}
    found = mended(said, **names)
    options = {"names": ["lstm"]} if take is convert.from_haiku else {}
    cell, params = take(found, **options)
    wanted = BOTH_PARAMS if repr(cell) == repr(BOTH) else PARAMS
    cases.assert_close(params, wanted)


@pytest.mark.parametrize(
    ("take", "tree"),
    [
        (convert.from_linen, optax.adam(1e-3).init(LINEN)),
        (convert.from_nnx, {"opt_state": {0: {"mu": NNX, "nu": NNX}}}),
        (convert.from_haiku, optax.sgd(1e-3, momentum=0.9).init(HAIKU)),
        (convert.from_equinox, optax.adam(1e-3).init(EQUINOX)),
    ],
)
def test_averages_of_an_optimizer_are_no_weights(take, tree):
    assert "the state of an optimizer" in message(take, tree)


TAKES = [
    convert.from_linen,
    convert.from_nnx,
    convert.from_haiku,
    convert.from_equinox,
    convert.from_keras,
    convert.from_torch,
]


@pytest.mark.parametrize("take", TAKES)
def test_what_is_ours_already(take):
    for given in (PARAMS, BOTH_PARAMS, (PARAMS, PARAMS), LSTM):
        if take is convert.from_torch and type(given) is tuple:
            continue
        assert "is jaxrnn's own: from_* functions" in message(take, given)


def test_a_linen_model_says_all_its_layers():
    said = message(convert.from_linen, {"a": LINEN, "b": LINEN, "Dense_0": DENSE})
    assert "give params['a'] or params['b']; for several layers give a list" in said


def test_haiku_names_in_a_model():
    tree = {f"net/~/{name}": part for name, part in HAIKU.items()}
    tree["net/~/linear"] = {"w": np.ones((4, 2)), "b": np.ones(2)}
    said = message(convert.from_haiku, tree)
    (code,) = re.findall(r"such as names=(\(.*\))\.$", said)
    cases.assert_close(convert.from_haiku(tree, names=eval(code))[1], PARAMS)


def test_layers_of_keras():
    dense = [np.ones((4, 2)), np.ones(2)]
    assert "weights[1]: expected" in message(convert.from_keras, [KERAS, dense])
    assert "of its recurrent layers" in message(convert.from_keras, KERAS + dense)
    two = jaxrnn.stack(LSTM, GRU)
    layers = convert.to_keras(two, two.init(jax.random.key(0), F))
    flat = list(itertools.chain(*layers))
    assert "Two layers are a list of two" in message(convert.from_keras, flat)


def population(params):
    return jax.tree.map(lambda a: jnp.stack([a, a]), params)


MODULE = jaxrnn.nnx.RNN(LSTM, F, rngs=nnx.Rngs(0))
GIVEN = {
    "swapped": (PARAMS, LSTM, r"Give the cell first: \(cell, params\)"),
    "params for the cell": (PARAMS, PARAMS, r"which are params. Give \(cell, params\)"),
    "a factory": (jaxrnn.lstm, PARAMS, r"Call it: lstm\(\.\.\.\)"),
    "a module": (MODULE, PARAMS, r"got RNN. Give its \.cell"),
    "None": (LSTM, None, "what cell.init"),
    "a carry": (LSTM, LSTM.initial_carry(PARAMS, jnp.ones(F)), "got LSTMCarry"),
    "a state": (
        LSTM,
        train.init(PARAMS, optax.adam(1e-3), jax.random.key(0)),
        r"give params\.params",
    ),
    "a module's": (LSTM, MODULE, r"give params\.params"),
    "wrapped": (LSTM, {"net": {"rnn": PARAMS}}, r"give params\['net'\]\['rnn'\]"),
    "our linen's": (
        LSTM,
        {"params": {"cell": jaxrnn.linen.to_tree(PARAMS)}},
        r"jaxrnn\.linen\.from_tree\(cell, variables\['params'\]\['cell'\], features\)",
    ),
    "a list": (
        jaxrnn.stack(LSTM, LSTM),
        [PARAMS, PARAMS],
        "a tuple of 2 .*got list of 2",
    ),
    "too few": (jaxrnn.stack(LSTM, LSTM), (PARAMS,), "a tuple of 2 .*got tuple of 1"),
    "a population": (LSTM, population(PARAMS), r"lambda a: a\[0\]"),
    "another kind": (GRU, PARAMS, "expected GRUParams for gru.*got LSTMParams"),
    "shapes": (
        LSTM,
        jax.eval_shape(lambda: PARAMS),
        "wx: expected an array of floats, got object",
    ),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_to_functions_are_given(name):
    cell, params, what = GIVEN[name]
    for give in (convert.to_torch, convert.to_linen):
        assert re.search(what, message(give, cell, params))


def test_converting_inside_of_jit():
    write = jax.jit(lambda params: convert.to_torch(LSTM, params))
    assert "Convert outside of jax.jit" in message(write, PARAMS)


def test_an_apply_of_a_module_is_no_tree():
    assert "got GRUCell" in message(convert.from_linen, nn.GRUCell(4))

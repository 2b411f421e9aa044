"""What is sent to another process comes back working, by cloudpickle as Ray has it."""

import copy
import os
import pathlib
import pickle
import subprocess
import sys

import cloudpickle
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
import jaxrnn.linen
import jaxrnn.nnx
from tests.laws.cases import (
    CELLS,
    B,
    F,
    H,
    T,
    assert_same_bits,
    each,
    example,
    weighed,
)


def user_gated(rate):
    """Made of functions that only their bytes can carry to another process."""
    inner = jaxrnn.lstm(H)
    parts = inner.parts._replace(
        update=lambda params, carry, gates: inner.parts.update(
            params, carry, gates._replace(g=rate * gates.g)
        )
    )
    return jaxrnn.gated(
        init=inner.init, initial_carry=inner.initial_carry, **parts._asdict()
    )


def things():
    """Name -> ``(a function of arrays, its arguments)``."""
    params, carry, xs = example("lstm")
    of_cell = lambda cell: (
        lambda params, xs: weighed(
            jaxrnn.unroll(cell, params, None, xs, lengths=[T, 2, 0])
        )
    )
    mixed = jaxrnn.stack(jaxrnn.precision(user_gated(0.5), compute="float32"))
    xs = jnp.moveaxis(xs, 0, 1)
    linen = jaxrnn.linen.GRU(H, bidirectional=True)
    split = flax.nnx.split(jaxrnn.nnx.LSTM(F, H, rngs=flax.nnx.Rngs(0)))
    of_module = lambda module: lambda v, xs: weighed(module.apply(v, None, xs))
    of_split = lambda graph: (
        lambda state, xs: weighed(flax.nnx.merge(graph, state)(None, xs))
    )
    return {
        "loss of a user's cell": (of_cell(mixed), ((params,), example("lstm")[2])),
        "loss of a stack": (of_cell(CELLS["residual"]), example("residual")[::2]),
        "linen": (of_module(linen), (linen.init(jax.random.key(0), None, xs), xs)),
        "nnx": (of_split(split[0]), (split[1], xs)),
    }


def results(made):
    graded = lambda f, args: jax.jit(jax.value_and_grad(f))(*args)
    return {
        name: [np.asarray(a) for a in jax.tree.leaves(graded(f, args))]
        for name, (f, args) in made.items()
    }


CHILD = """
import cloudpickle, pickle, sys
import tests.conftest
from tests.test_pickle import results
with open(sys.argv[1], "rb") as file:
    made = cloudpickle.load(file)
with open(sys.argv[2], "wb") as file:
    pickle.dump(results(made), file)
"""


@pytest.mark.slow
def test_another_process_computes_the_same_bits(tmp_path):
    sent, back = tmp_path / "sent", tmp_path / "back"
    made = things()
    sent.write_bytes(cloudpickle.dumps(made))
    root = str(pathlib.Path(__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": root, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", CHILD, str(sent), str(back)]
    subprocess.run(command, check=True, env=env, cwd=root)
    there, here = pickle.loads(back.read_bytes()), results(made)
    assert there.keys() == here.keys()
    assert_same_bits(there, here)


@each(quick=("own_gated", "residual"))
def test_a_cell_comes_back_working(name):
    params, carry, xs = example(name)
    again = cloudpickle.loads(cloudpickle.dumps(CELLS[name]))
    run = lambda cell: lambda *args: jaxrnn.unroll(cell, *args, lengths=[T, 2, 0])
    assert repr(again).split(" at ")[0] == repr(CELLS[name]).split(" at ")[0]
    assert_same_bits(
        jax.jit(run(again))(params, carry, xs),
        jax.jit(run(CELLS[name]))(params, carry, xs),
    )


MADE = {
    "lstm": lambda: jaxrnn.lstm(4, forget_bias=2.0),
    "simple_rnn": lambda: jaxrnn.simple_rnn(4, activation="relu"),
    "stack": lambda: jaxrnn.stack(jaxrnn.lstm(4), jaxrnn.residual(jaxrnn.gru(4))),
    "both ways": lambda: jaxrnn.bidirectional(jaxrnn.gru(4), merge="sum"),
    "learned": lambda: jaxrnn.learned_carry(jaxrnn.with_carries(jaxrnn.lstm(4))),
    "precision": lambda: jaxrnn.precision(jaxrnn.gru(4), compute="bfloat16"),
}


@pytest.mark.parametrize("name", MADE)
def test_cells_of_the_same_call_are_equal_there_and_here(name):
    cell = MADE[name]()
    assert cloudpickle.loads(cloudpickle.dumps(cell)) == cell == copy.deepcopy(cell)
    assert pickle.loads(pickle.dumps(cell)) == cell == MADE[name]()
    assert cell != jaxrnn.lstm(4)


def test_what_is_replaced_in_a_cell_stays_replaced():
    cell = jaxrnn.gru(H)
    turned = cell._replace(initial_carry=lambda p, x: 1 + cell.initial_carry(p, x))
    params, _, xs = example("gru")
    cell.initial_carry(params, xs[0])  # params have been checked once
    again = cloudpickle.loads(cloudpickle.dumps(turned))
    assert again.initial_carry(params, xs[0])[0, 0] == 1
    assert cloudpickle.loads(cloudpickle.dumps(cell)) == cell


def test_modules_that_come_back_are_equal_where_flax_compares():
    module = jaxrnn.nnx.LSTM(F, H, num_layers=2, rngs=flax.nnx.Rngs(0))
    again = cloudpickle.loads(cloudpickle.dumps(module))
    twice = jax.tree.map(
        jnp.add, flax.nnx.state(module), flax.nnx.state(again)
    )  # two states of one structure
    flax.nnx.update(again, twice)
    assert flax.nnx.graphdef(module) == flax.nnx.graphdef(again)
    xs = jnp.ones((B, T, F))
    compiled = []

    @flax.nnx.jit
    def run(module, xs):
        compiled.append(1)
        return module(None, xs)[1]

    assert float(jnp.abs(run(module, xs) - run(again, xs)).max()) > 0.01
    assert len(compiled) == 1


def test_a_cell_of_traced_values_is_not_kept():
    def loss(bias):
        cell = jaxrnn.lstm(2, forget_bias=bias, bias_init=None)
        own = jaxrnn.simple_rnn(2, activation=lambda a: jnp.tanh(bias * a))
        start = lambda cell: cell.init(jax.random.key(0), 1)
        seen = jaxrnn.unroll(own, start(own), None, jnp.ones((2, 1)))[1]
        return weighed(start(cell)) + weighed(seen)

    with jax.checking_leaks():
        first = jax.jit(jax.grad(loss))(1.0)
    assert first != jax.jit(jax.grad(loss))(2.0)

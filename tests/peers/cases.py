"""The cases that jaxrnn and its peers both run, and how their results are compared.

A case's name is a kind of cell and what is done with it: "lstm", "gru stack",
"lstm bidirectional lengths". Weights, biases, carries, inputs and cotangents are drawn
at random from the name, none of them constant.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn

STEPS, BATCH, FEATURES, HIDDEN = 6, 3, 2, 4
LENGTHS = (4, 6, 1)  # not sorted; torch takes none that is 0
QUICK = {"xla_backend_optimization_level": 0}  # compiles in two thirds of the time
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}

KINDS = {
    "simple_tanh": jaxrnn.simple_rnn(HIDDEN),
    "simple_relu": jaxrnn.simple_rnn(HIDDEN, activation="relu"),
    "lstm": jaxrnn.lstm(HIDDEN),
    "gru": jaxrnn.gru(HIDDEN),
    "gru_bn0": jaxrnn.gru(HIDDEN),  # bn is zero and no parameter, as nnx has it
}


class Case(NamedTuple):
    """What is run: params, carry and inputs, and cotangents of what comes out."""

    params: Any
    carry: Any
    xs: Any
    dcarry: Any
    dhs: Any


class Result(NamedTuple):
    """What comes out: final carry, outputs, gradients of (params, carry, xs)."""

    carry: Any
    hs: Any
    grads: Any


def cell_of(name: str) -> jaxrnn.Cell:
    kind, *form = name.split()
    cell = KINDS[kind]
    if "bidirectional" in form:
        cell = jaxrnn.bidirectional(cell)
    if "stack" in form:
        cell = jaxrnn.stack(cell, cell)
    return cell


def lengths_of(name: str) -> np.ndarray | None:
    return np.array(LENGTHS) if "lengths" in name.split() else None


def like(name: str) -> Case:
    """The shapes and structure of a case, with no values."""

    def shapes():
        cell = cell_of(name)
        params = cell.init(jax.random.key(0), FEATURES)
        xs = jnp.zeros((STEPS, BATCH, FEATURES))
        carry, hs = jaxrnn.unroll(cell, params, None, xs)
        if name == "gru_bn0":
            params = params._replace(bn=None)
        return Case(params, carry, xs, carry, hs)

    return jax.eval_shape(shapes)


def draw(name: str) -> Case:
    """The case of that name, in float64.

    At 0.6 of unit variance every float32 result, a peer's or ours, is within 2e-6 of
    float64. At 1.0 two layers of tanh amplify rounding to 1e-5, in torch nearly so.
    """
    random = np.random.default_rng(list(name.encode()))
    return jax.tree.map(lambda s: 0.6 * random.normal(size=s.shape), like(name))


def cast(tree: Any, dtype: str) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), tree)


def differentiate(run: Any, case: Case) -> Result:
    """Runs ``run(params, carry, xs) -> (carry, hs)`` and its vjp."""

    @partial(jax.jit, compiler_options=QUICK)
    def both(case):
        (carry, hs), back = jax.vjp(run, case.params, case.carry, case.xs)
        return Result(carry, hs, back((case.dcarry, case.dhs)))

    return both(case)


def run_jaxrnn(name: str, case: Case, engine: str) -> Result:
    cell, lengths = cell_of(name), lengths_of(name)

    def run(params, carry, xs):
        if name == "gru_bn0":
            params = params._replace(bn=jnp.zeros_like(carry, shape=HIDDEN))
        return jaxrnn.unroll(cell, params, carry, xs, lengths=lengths, engine=engine)

    return differentiate(run, case)


def assert_close(ours: Result, peers: Result, dtype: str) -> None:
    """max|ours - peers| <= tolerance * max(1, max|peers|), leaf by leaf."""
    assert jax.tree.structure(ours) == jax.tree.structure(peers)
    named = jax.tree.leaves_with_path(ours)
    for (path, a), b in zip(named, jax.tree.leaves(peers), strict=True):
        leaf = jax.tree_util.keystr(path)
        assert a.shape == b.shape, f"{leaf}: shape {a.shape}, the peer's {b.shape}"
        assert a.dtype == dtype, f"{leaf}: {a.dtype}, expected {dtype}"
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        error = np.max(np.abs(a - b)) / max(1.0, np.max(np.abs(b)))
        assert error <= TOLERANCE[dtype], f"{leaf}: error {error:.2e}"  # NaN fails too

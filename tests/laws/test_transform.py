"""Law 10, transform: values that cells close over, and what programs cost.

tests/transformations has every cell under every transformation. Cases here are computed
by both engines, in NumPy; the plain scan is JAX's own differentiation.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.engine import gated
from jaxrnn.initializers import glorot_uniform
from tests.laws.cases import (
    AUTO,
    CELLS,
    B,
    F,
    H,
    T,
    assert_close,
    each,
    example,
    later,
    own_gated,
    randomise,
    weighed,
)
from tests.laws.numpy_jaxpr import evaluate, trace

NAMES = ("lstm", "gru", "own_gated", "stack", "bidirectional", "precision")
names = each(NAMES, quick=())  # test_time has one program of each cell
MANY = AUTO[:1]
LENGTHS = np.array([T, 2, 0])
RESETS = np.random.RandomState(4).rand(T, B) < 0.3


def loss(name, engine, params, carry, xs):
    options = dict(lengths=LENGTHS, resets=RESETS, engine=engine)
    return weighed(jaxrnn.unroll(CELLS[name], params, carry, xs, **options))


@names
def test_jit_changes_nothing_and_compiles_once(name):
    params, carry, xs = example(name)
    f = functools.partial(loss, name, AUTO)
    g = jax.jit(jax.grad(f))
    assert_close(g(params, carry, xs), jax.grad(f)(params, carry, xs))
    g(jax.tree.map(lambda a: 2 * a, params), carry, xs + 1)
    assert g._cache_size() == 1


# Hyperparameters that the cell closes over: a float in its state equation, an integer
# index in its recurrent part. Each as a value of every transformation that can batch or
# differentiate it, with the cell made inside and outside of it.

OWN = randomise(1, own_gated(H).init(jax.random.key(0), F))


def own_loss(engine, rate, picks, params, xs):
    cell = own_gated(H, rate, picks)
    return weighed(
        jaxrnn.unroll(cell, params, None, xs, engine=engine, lengths=LENGTHS)
    )


CLOSURES = {
    "grad outside jit": lambda f, xs: jax.grad(lambda p: jax.jit(f)(0.5, 1, p, xs))(
        OWN
    ),
    "grad of the hyperparameter": lambda f, xs: jax.grad(f)(0.5, 1, OWN, xs),
    "grad, integer closure": lambda f, xs: jax.grad(
        lambda p: jax.jit(lambda i: f(0.5, i, p, xs))(1)
    )(OWN),
    "vmap over both": lambda f, xs: jax.vmap(
        jax.value_and_grad(f, (0, 2)), (0, 0, None, None)
    )(jnp.array([0.2, 0.5, 0.9]), jnp.arange(3), OWN, xs),
    "grad of vmap": lambda f, xs: jax.grad(
        lambda p: jax.vmap(lambda a, i: f(a, i, p, xs))(
            jnp.array([0.2, 0.5, 0.9]), jnp.arange(3)
        ).sum()
    )(OWN),
    "hessian of the hyperparameter": lambda f, xs: jax.hessian(f)(0.5, 1, OWN, xs),
    "jvp": lambda f, xs: jax.jvp(
        lambda a, p: f(a, 2, p, xs), (0.5, OWN), (1.0, randomise(3, OWN))
    ),
    "scan over it": lambda f, xs: jax.grad(
        lambda p: jax.lax.scan(
            lambda s, a: (s + f(a, 1, p, xs), None), 0.0, jnp.array([0.2, 0.7])
        )[0]
    )(OWN),
    "checkpoint": lambda f, xs: jax.grad(
        jax.checkpoint(lambda a, p: f(a, 1, p, xs)), (0, 1)
    )(0.5, OWN),
}


def by(engine, case):
    xs = np.random.RandomState(3).randn(T, B, F)
    f = functools.partial(own_loss, engine)
    return evaluate(lambda xs: CLOSURES[case](f, xs), xs)


@pytest.mark.parametrize("case", CLOSURES)
def test_closed_over_hyperparameters(case):
    assert_close(by(MANY, case), by("scan", case), tolerance=1e-11)


@pytest.mark.parametrize("case", later(CLOSURES, quick=["grad of the hyperparameter"]))
def test_closed_over_hyperparameters_eagerly_and_compiled(case):
    xs = jnp.asarray(np.random.RandomState(3).randn(T, B, F))
    got = CLOSURES[case](functools.partial(own_loss, MANY), xs)
    assert_close(got, by("scan", case), tolerance=1e-11)


def test_a_closed_over_value_of_the_batchs_shape():
    """[B, 1] cannot be split to rows: the engine then batches over time alone."""
    xs = jnp.asarray(np.random.RandomState(3).randn(T, B, F))
    rates = jnp.array([[0.2], [0.5], [0.9]])
    f = lambda engine: jax.value_and_grad(
        lambda a, p: own_loss(engine, a, 1, p, xs), (0, 1)
    )
    assert_close(evaluate(f(MANY), rates, OWN), evaluate(f("scan"), rates, OWN))


def test_forget_bias_may_be_traced():
    def f(bias, engine):
        cell = jaxrnn.lstm(H, forget_bias=bias, recurrent_init=glorot_uniform)
        params = cell.init(jax.random.key(0), F)
        return weighed(
            jaxrnn.unroll(cell, params, None, example("lstm")[2], engine=engine)
        )

    biases = jnp.array([-1.0, 0.5, 3.0])
    by = lambda engine: jax.value_and_grad(functools.partial(f, engine=engine))
    got = evaluate(jax.vmap(by(MANY)), biases)
    alone = trace(by("scan"), biases[0])
    assert_close(got, jax.tree.map(lambda *a: np.stack(a), *map(alone, biases)))
    assert float(jnp.abs(got[1]).min()) > 1e-3


def test_the_gradient_of_params_alone_costs_less():
    """No cotangent for the inputs is computed when nobody asks for one."""
    params, carry, xs = example("lstm")

    def flops(argnums):
        f = jax.jit(jax.grad(functools.partial(loss, "lstm", AUTO), argnums))
        return f.lower(params, carry, xs).compile().cost_analysis()["flops"]

    assert flops(0) < flops((0, 2))


@pytest.mark.parametrize("remat", [None, 16])
def test_the_program_does_not_grow_with_time(remat):
    """Ten times as many steps are no more to compile, in blocks as well."""
    small = (gated.engine(gated.Plan(few_rows=3, block_bytes=2**12)),)
    params, carry, _ = example("lstm")

    def gradient(steps):
        xs = jnp.zeros((steps, *example("lstm")[2].shape[1:]))
        return jax.grad(
            lambda params: weighed(
                jaxrnn.unroll(
                    CELLS["lstm"], params, carry, xs, remat=remat, engine=small
                )
            )
        )

    def lines(steps):
        return len(jax.jit(gradient(steps)).lower(params).as_text().splitlines())

    scans = set(re.findall(r"length=(\d+)", str(jax.make_jaxpr(gradient(160))(params))))
    assert scans - {"160"}  # blocks
    assert lines(160) == lines(1600)

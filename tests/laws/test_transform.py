"""Law 10, transform: jit, vmap, jvp, grad of grad, Hessian, checkpoint, closures, leaks.

Every case is computed by both engines; the plain scan is JAX's own differentiation.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from jaxrnn.engine import deferred
from tests.laws.cases import (
    CELLS,
    B,
    F,
    H,
    T,
    assert_close,
    each,
    example,
    own_gated,
    randomise,
    weighed,
)

NAMES = ("lstm", "gru", "own_gated", "stack", "bidirectional", "precision")
names = each(NAMES, quick=("own_gated",))
LENGTHS = np.array([T, 2, 0])
RESETS = np.random.RandomState(4).rand(T, B) < 0.3


def loss(name, engine, params, carry, xs, remat=None):
    options = dict(lengths=LENGTHS, resets=RESETS, engine=engine, remat=remat)
    return weighed(jaxrnn.unroll(CELLS[name], params, carry, xs, **options))


@names
def test_jit_changes_nothing_and_compiles_once(name):
    params, carry, xs = example(name)
    f = functools.partial(loss, name, "auto")
    g = jax.jit(jax.grad(f))
    assert_close(g(params, carry, xs), jax.grad(f)(params, carry, xs))
    g(jax.tree.map(lambda a: 2 * a, params), carry, xs + 1)
    assert g._cache_size() == 1


def curvature(name, engine, params, carry, xs):
    """jvp, reverse over reverse, forward over reverse and checkpoint, in one program."""
    f = functools.partial(loss, name, engine)
    dparams, dxs = randomise(11, params), randomise(12, xs)
    along = lambda p, x: f(p, carry, x)
    grad = jax.grad(along, (0, 1))
    squares = lambda p, x: sum(jnp.sum(g**2) for g in jax.tree.leaves(grad(p, x)))
    return (
        jax.jvp(along, (params, xs), (dparams, dxs)),
        jax.jvp(grad, (params, xs), (dparams, dxs))[1],
        jax.grad(squares, (0, 1))(params, xs),
        jax.grad(jax.checkpoint(along), (0, 1))(params, xs),
        jax.grad(lambda p: loss(name, engine, p, carry, xs, remat=2))(params),
    )


@each(NAMES, quick=("own_gated",))
def test_every_order_of_differentiation(name):
    args = example(name)
    both = [
        jax.jit(functools.partial(curvature, name, engine))(*args)
        for engine in ("auto", "scan")
    ]
    assert_close(*both, tolerance=1e-11)  # second derivatives: a digit more of rounding


def test_hessian_of_a_small_case():
    cell = jaxrnn.gru(2)
    params = randomise(1, cell.init(jax.random.key(0), 2))
    xs = jnp.asarray(np.random.RandomState(2).randn(3, 2))
    flat, build = ravel_pytree(params)

    def f(flat, engine):
        return weighed(jaxrnn.unroll(cell, build(flat), None, xs, engine=engine))

    hessians = [
        jax.jit(jax.hessian(functools.partial(f, engine=e)))(flat)
        for e in ("gated", "scan")
    ]
    assert_close(*hessians, tolerance=1e-11)
    assert float(jnp.abs(hessians[0]).max()) > 0.01


@names
def test_vmap_over_params_equals_a_loop(name):
    params, carry, xs = example(name)
    many = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a, -a]), params)
    g = jax.value_and_grad(functools.partial(loss, name, "auto"))
    got = jax.jit(jax.vmap(g, (0, None, None)))(many, carry, xs)
    one = jax.jit(g)
    want = [one(jax.tree.map(lambda a, i=i: a[i], many), carry, xs) for i in range(3)]
    assert_close(got, jax.tree.map(lambda *a: jnp.stack(a), *want))


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


@pytest.mark.parametrize("case", CLOSURES)
def test_closed_over_hyperparameters(case):
    xs = jnp.asarray(np.random.RandomState(3).randn(T, B, F))
    run = lambda engine: CLOSURES[case](functools.partial(own_loss, engine), xs)
    assert_close(run("gated"), run("scan"), tolerance=1e-11)


def test_a_closed_over_value_of_the_batchs_shape():
    """[B, 1] cannot be split to rows: the engine then batches over time alone."""
    xs = jnp.asarray(np.random.RandomState(3).randn(T, B, F))
    rates = jnp.array([[0.2], [0.5], [0.9]])
    f = lambda engine: jax.value_and_grad(
        lambda a, p: own_loss(engine, a, 1, p, xs), (0, 1)
    )(rates, OWN)
    assert_close(f("gated"), f("scan"))


def test_forget_bias_may_be_traced():
    def f(bias, engine):
        cell = jaxrnn.lstm(H, forget_bias=bias)
        params = cell.init(jax.random.key(0), F)
        return weighed(
            jaxrnn.unroll(cell, params, None, example("lstm")[2], engine=engine)
        )

    biases = jnp.array([-1.0, 0.5, 3.0])
    got = jax.jit(jax.vmap(jax.value_and_grad(functools.partial(f, engine="gated"))))(
        biases
    )
    want = [jax.value_and_grad(functools.partial(f, engine="scan"))(b) for b in biases]
    assert_close(got, jax.tree.map(lambda *a: jnp.stack(a), *want))
    assert float(jnp.abs(got[1]).min()) > 1e-3


@names
def test_checking_leaks_is_silent(name):
    params, carry, xs = example(name)
    with jax.checking_leaks():
        jax.jit(jax.grad(functools.partial(loss, name, "auto")))(params, carry, xs)
        jax.vmap(functools.partial(loss, name, "auto"), (None, None, 0))(
            params, carry, jnp.stack([xs, 2 * xs])
        )


def test_the_gradient_of_params_alone_costs_less():
    """No cotangent for the inputs is computed when nobody asks for one."""
    params, carry, xs = example("lstm")

    def flops(argnums):
        f = jax.jit(jax.grad(functools.partial(loss, "lstm", "auto"), argnums))
        return f.lower(params, carry, xs).compile().cost_analysis()["flops"]

    assert flops(0) < flops((0, 2))


@pytest.mark.parametrize("remat", [None, 16])
def test_the_program_does_not_grow_with_time(remat, monkeypatch):
    """Ten times as many steps are no more to compile, in blocks as well."""
    monkeypatch.setattr(deferred, "BLOCK_BYTES", 2**12)
    params, carry, _ = example("lstm")

    def gradient(steps):
        xs = jnp.zeros((steps, *example("lstm")[2].shape[1:]))
        return jax.grad(
            lambda params: weighed(
                jaxrnn.unroll(CELLS["lstm"], params, carry, xs, remat=remat)
            )
        )

    def lines(steps):
        return len(jax.jit(gradient(steps)).lower(params).as_text().splitlines())

    scans = set(re.findall(r"length=(\d+)", str(jax.make_jaxpr(gradient(160))(params))))
    assert scans - {"160"}  # blocks
    assert lines(160) == lines(1600)


def test_export_with_symbolic_time_and_batch():
    params, _, _ = example("stack")
    cell = CELLS["stack"]

    def run(xs, lengths):
        return jaxrnn.unroll(cell, params, None, xs, lengths=lengths)

    t, b = jax.export.symbolic_shape("t, b")
    types = (
        jax.ShapeDtypeStruct((t, b, F), jnp.float64),
        jax.ShapeDtypeStruct((b,), int),
    )
    exported = jax.export.export(jax.jit(run))(*types)
    for steps, rows in ((4, 3), (7, 2)):
        xs = jnp.asarray(np.random.RandomState(steps).randn(steps, rows, F))
        lengths = jnp.arange(rows) + steps - rows
        assert_close(exported.call(xs, lengths), run(xs, lengths))

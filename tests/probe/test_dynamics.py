"""Jacobians, exponents and time scales against their definitions, in loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from jaxrnn import probe
from tests.laws.cases import randomise

SLOW = pytest.mark.slow
T, B, F, H = 6, 2, 3, 3
CELLS = {
    "simple_rnn": jaxrnn.simple_rnn(H),
    "lstm": jaxrnn.lstm(H),
    "gru": jaxrnn.gru(H),
    "stack": jaxrnn.stack(jaxrnn.lstm(2), jaxrnn.gru(H)),
    "learned": jaxrnn.learned_carry(jaxrnn.lstm(H)),
}


def mixing():
    """A cell without gates, whose units mix and which counts its steps."""

    def step(params, carry, x):
        h, count = carry
        h = jnp.tanh(h @ params + x)
        return (h, count + 1), h

    return jaxrnn.Cell(
        lambda key, features: jax.random.normal(key, (features, features)),
        lambda params, x: (jnp.zeros_like(x), jnp.zeros(x.shape[:-1] + (1,), int)),
        step,
    )


def case(cell, steps=T):
    params = randomise(1, cell.init(jax.random.key(0), F))
    xs = jax.random.normal(jax.random.key(2), (steps, B, F))
    carry = randomise(3, cell.initial_carry(params, xs[0]))
    return params, carry, xs


def jacobians(cell, params, carry, xs):
    """[T, B, D, D], each row's by itself."""

    @jax.jit
    def one(carry, x):
        flat, back = ravel_pytree(carry)
        step = lambda flat: ravel_pytree(cell.step(params, back(flat), x)[0])[0]
        return jax.jacobian(step)(flat), cell.step(params, carry, x)[0]

    found = []
    for b in range(B):
        c = jax.tree.map(lambda a, b=b: a[b], carry)
        row = []
        for x in xs[:, b]:
            matrix, c = one(c, x)
            row.append(matrix)
        found.append(row)
    return np.array(found).swapaxes(0, 1)


@pytest.mark.parametrize(
    "name",
    ["stack", *(pytest.param(name, marks=SLOW) for name in CELLS if name != "stack")],
)
def test_the_spectrum_is_that_of_each_steps_jacobian(name):
    cell = CELLS[name]
    args = case(cell)
    found = jax.jit(partial(probe.jacobian_spectrum, cell))(*args)
    expected = np.linalg.svd(jacobians(cell, *args), compute_uv=False)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize(
    "name",
    ["gru", *(pytest.param(name, marks=SLOW) for name in ("simple_rnn", "stack"))],
)
def test_all_exponents_sum_to_the_determinants_growth(name, warmup):
    cell = CELLS[name]
    params, carry, xs = case(cell)
    if name == "stack":  # an LSTM's h hands nothing on directly: its determinant is 0
        cell = jaxrnn.stack(jaxrnn.gru(2), jaxrnn.simple_rnn(H))
        params, carry, xs = case(cell)
    every = jacobians(cell, params, carry, xs)
    size = every.shape[-1]
    found = jax.jit(partial(probe.lyapunov, cell, count=size, warmup=warmup))(
        params, carry, xs
    )
    growth = np.log(np.abs(np.linalg.det(every[warmup:]))).mean(axis=0)
    np.testing.assert_allclose(found.sum(axis=-1), growth, rtol=1e-9)
    first = probe.lyapunov(cell, params, carry, xs, warmup=warmup)
    np.testing.assert_allclose(first, found[:, :1], atol=0.5)  # other directions


def test_exponents_of_a_linear_cell_are_its_eigenvalues():
    vectors = np.random.default_rng(0).normal(size=(F, F))
    values = np.array([1.2, -0.7, 0.3])
    matrix = jnp.array(vectors @ np.diag(values) @ np.linalg.inv(vectors))

    def step(params, carry, x):
        carry = carry @ params + x
        return carry, carry

    cell = jaxrnn.Cell(lambda key, f: matrix, lambda p, x: jnp.zeros_like(x), step)
    xs = jax.random.normal(jax.random.key(0), (150, B, F))
    found = probe.lyapunov(cell, matrix, None, xs, count=3, warmup=50)
    expected = np.broadcast_to(np.log(np.abs(values)), (B, 3))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_dies_at_once():
    cell = jaxrnn.simple_rnn(H)
    params, carry, xs = case(cell)
    params = params._replace(wh=jnp.zeros_like(params.wh))
    assert np.isneginf(probe.lyapunov(cell, params, carry, xs, count=H)).all()


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=SLOW)])
def test_time_scales_are_those_of_the_gates(reverse):
    """Over the valid steps alone; each layer's gates by themselves."""
    lstm, gru, simple = jaxrnn.lstm(H), jaxrnn.gru(H), jaxrnn.simple_rnn(H)
    cell = jaxrnn.stack(lstm, jaxrnn.residual(gru), simple)
    params, carry, xs = case(cell)
    mask = np.random.default_rng(0).uniform(size=(T, B)) < 0.7
    options = dict(lengths=[T, 4], mask=mask, reverse=reverse)
    found = probe.timescale(cell, params, carry, xs, **options)
    gates = probe.gates(cell, params, carry, xs, **options)
    valid = mask & (np.arange(T)[:, None] < np.array([T, 4]))
    for keep, scale in ((gates[0].f, found[0].c), (gates[1].z, found[1])):
        logs = np.where(
            valid[..., None], np.log(np.where(valid[..., None], keep, 1)), 0
        )
        expected = -1 / (logs.sum(axis=0) / valid.sum(axis=0)[:, None])
        np.testing.assert_allclose(scale, expected, rtol=1e-12)
    assert (found[0].h == 0).all()
    assert (found[2] == 0).all()


def test_time_scales_of_both_directions():
    cell = jaxrnn.bidirectional(jaxrnn.gru(H), jaxrnn.lstm(H))
    params, carry, xs = case(cell)
    found = probe.timescale(cell, params, carry, xs)
    for part, p, c, scale, reverse in zip(
        cell.parts, params, carry, found, (False, True), strict=True
    ):
        alone = probe.timescale(part, p, c, xs, reverse=reverse)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), scale, alone)


def test_time_scales_without_gates_are_the_steps_diagonal():
    cell = mixing()
    params = cell.init(jax.random.key(0), F)
    xs = jax.random.normal(jax.random.key(1), (T, B, F))
    carry = cell.initial_carry(params, xs[0])
    scale, counter = probe.timescale(cell, params, carry, xs)
    logs = []
    for x in xs:
        new, h = cell.step(params, carry, x)
        logs.append(np.log(np.abs((1 - h**2) * jnp.diagonal(params))))
        carry = new
    mean = np.mean(logs, axis=0)
    np.testing.assert_allclose(scale, np.where(mean < 0, -1 / mean, np.inf), rtol=1e-10)
    assert np.isinf(counter).all()


def test_a_row_without_a_step_has_no_time_scale():
    cell = jaxrnn.gru(H)
    found = probe.timescale(cell, *case(cell), lengths=[0, T])
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_integers_have_no_jacobian():
    cell = mixing()
    params = cell.init(jax.random.key(0), F)
    xs = jax.random.normal(jax.random.key(1), (T, B, F))
    assert probe.jacobian_spectrum(cell, params, None, xs).shape == (T, B, F)
    counter = jaxrnn.Cell(
        lambda key, f: (),
        lambda p, x: jnp.zeros(x.shape, int),
        lambda p, c, x: (c + 1, x),
    )
    with pytest.raises(ValueError, match="carry: expected floating-point leaves"):
        probe.jacobian_spectrum(counter, (), None, xs)


def test_errors_name_what_is_wrong():
    cell = jaxrnn.gru(H)
    params, carry, xs = case(cell)
    for count in (0, H + 1):
        with pytest.raises(ValueError, match=r"count: expected 1 to 3"):
            probe.lyapunov(cell, params, carry, xs, count=count)
    for warmup in (-1, T):
        with pytest.raises(ValueError, match=r"warmup: expected 0 to 5"):
            probe.lyapunov(cell, params, carry, xs, warmup=warmup)
    both = jaxrnn.bidirectional(cell, cell)
    with pytest.raises(ValueError, match="has no step"):
        probe.lyapunov(both, both.init(jax.random.key(0), F), None, xs)
    for run in (probe.jacobian_spectrum, probe.lyapunov, probe.timescale):
        with pytest.raises(ValueError, match="cell: expected a jaxrnn"):
            run(cell.step, params, carry, xs)
        with pytest.raises(ValueError, match="x: expected"):
            run(cell, params, carry, xs[0, 0])


@SLOW
@pytest.mark.parametrize("name", ["lyapunov", "timescale", "memory_span"])
def test_nothing_grows_with_time(name):
    """But each layer's outputs, of which the last of a stack's are not kept."""
    cell = jaxrnn.lstm(32)
    params = cell.init(jax.random.key(0), F)

    def size(steps):
        xs = jnp.zeros((steps, B, F))
        run = {
            "lyapunov": lambda xs: probe.lyapunov(cell, params, None, xs, count=2),
            "timescale": lambda xs: probe.timescale(cell, params, None, xs),
            "memory_span": lambda xs: probe.memory_span(
                cell, params, None, xs, xs + 1, lags=(0, 5)
            ),
        }[name]
        return jax.jit(run).lower(xs).compile().memory_analysis().temp_size_in_bytes

    gates = 4 * 900 * B * 32 * 8  # what 900 steps' gates would take
    assert size(1000) - size(100) < gates / 3

"""Law 13, parameters: each one matters, counts equal the formula, statistics as stated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import initializers
from tests.laws import programs
from tests.laws.cases import CELLS, NIGHTLY, B, F, H, T, each, example

HIDDEN, FEATURES = 64, 48
COUNT = {
    jaxrnn.simple_rnn: lambda f, h: h * (f + h + 1),
    jaxrnn.lstm: lambda f, h: 4 * h * (f + h + 1),
    jaxrnn.gru: lambda f, h: 3 * h * (f + h + 1) + h,
}
makes = pytest.mark.parametrize("make", COUNT, ids=lambda m: m.__name__)
GATES = {jaxrnn.simple_rnn: 1, jaxrnn.lstm: 4, jaxrnn.gru: 3}


@each(quick=set(CELLS) - set(NIGHTLY) | {"learned_carry"})
def test_each_parameter_has_a_gradient_everywhere(name):
    """One row begins anew, so that a learned carry has one too."""
    resets = np.zeros((T, B), bool)
    resets[2, 0] = True
    control = np.full(B, T), np.ones((T, B), bool), resets
    args = *programs.given(name)[:3], *control, programs.weights(name)
    _, (dparams, *_) = programs.gradients(name)(*args)
    # a relu unit may be off throughout
    bound = 0.4 if name == "simple_rnn_relu" else 0
    for path, g in jax.tree.leaves_with_path(dparams):
        assert (g == 0).mean() <= bound, jax.tree_util.keystr(path)


@makes
def test_counts(make):
    params = make(HIDDEN).init(jax.random.key(0), FEATURES)
    assert sum(a.size for a in params) == COUNT[make](FEATURES, HIDDEN)


@makes
def test_recurrent_kernels_are_orthogonal_per_gate(make):
    wh = make(HIDDEN).init(jax.random.key(0), FEATURES).wh
    gates = jnp.split(wh, GATES[make], -1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(HIDDEN), atol=1e-12)
    for one, two in itertools.pairwise(gates):
        assert float(jnp.abs(one - two).max()) > 0.1


@makes
def test_input_kernels_are_glorot_uniform_per_gate(make):
    wx = make(HIDDEN).init(jax.random.key(0), FEATURES).wx
    bound = (6 / (FEATURES + HIDDEN)) ** 0.5
    for gate in jnp.split(wx, GATES[make], -1):
        assert 0.98 * bound < float(jnp.abs(gate).max()) <= bound
        assert abs(float(gate.std()) - bound / 3**0.5) < 0.03 * bound
        assert abs(float(gate.mean())) < 0.05 * bound


def test_forget_and_update_biases_are_initial_values():
    rows = lambda b, n: np.asarray(b).reshape(n, -1)
    i, f, g, o = rows(jaxrnn.lstm(8).init(jax.random.key(0), F).b, 4)
    assert (f == 1).all()
    assert not np.any([i, g, o])
    ramp = np.linspace(-1, 2, 8)
    b = rows(jaxrnn.lstm(8, forget_bias=ramp).init(jax.random.key(0), F).b, 4)
    np.testing.assert_allclose(b[1], ramp, rtol=1e-15)
    params = jaxrnn.gru(8, update_bias=2.5).init(jax.random.key(0), F)
    r, z, n = rows(params.b, 3)
    assert (z == 2.5).all()
    assert not np.any([r, n, params.bn])


def test_biases_are_zero_unless_asked_for():
    params = jaxrnn.gru(8).init(jax.random.key(0), F)
    assert not np.any([*params.b, *params.bn])
    assert not np.any(jaxrnn.simple_rnn(8).init(jax.random.key(0), F).b)


@makes
def test_kernels_are_drawn_apart(make):
    """Of one shape and by one initializer they are still two draws."""
    init = initializers.glorot_uniform
    cell = make(4, kernel_init=init, recurrent_init=init)
    params = cell.init(jax.random.key(0), 4)
    assert float(jnp.abs(params.wx - params.wh).min(-1).max()) > 0.01


@makes
def test_drawn_biases_come_in_the_dtype_asked_for(make):
    """`bias_init` may draw in any: float64 here, of which float32 is wanted."""
    ramp = lambda key, hidden, dtype: jnp.linspace(-1, 1, GATES[make] * hidden)
    params = make(3, bias_init=ramp, dtype=jnp.float32).init(jax.random.key(0), F)
    assert params.b.dtype == jnp.float32
    np.testing.assert_array_equal(
        params.b, np.linspace(-1, 1, GATES[make] * 3).astype(np.float32)
    )


def test_the_forget_bias_is_not_added_at_run_time():
    one, two = jaxrnn.lstm(H, forget_bias=1.0), jaxrnn.lstm(H, forget_bias=5.0)
    params, carry, xs = example("lstm")
    for a, b in zip(
        jax.tree.leaves(one.step(params, carry, xs[0])),
        jax.tree.leaves(two.step(params, carry, xs[0])),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_chrono_spreads_over_all_time_scales():
    longest = 1000
    b = initializers.chrono(longest)(jax.random.key(0), 4096, jnp.float64)
    i, f, g, o = b.reshape(4, -1)
    np.testing.assert_array_equal(i, -f)
    assert not np.any([g, o])
    steps = np.exp(f)  # uniform in 1 .. longest - 1
    assert steps.min() >= 1
    assert steps.max() <= longest - 1
    np.testing.assert_allclose(
        np.quantile(steps, [0.1, 0.5, 0.9]), [100, 500, 900], rtol=0.1
    )
    r, z, n = initializers.chrono(longest, "rzn")(jax.random.key(0), 4096).reshape(
        3, -1
    )
    np.testing.assert_array_equal(z, f)
    assert not np.any([r, n])


def test_torch_uniform_and_its_summed_biases():
    bound = HIDDEN**-0.5
    cell = jaxrnn.gru(
        HIDDEN,
        kernel_init=initializers.torch_uniform,
        recurrent_init=initializers.torch_uniform,
        bias_init=initializers.torch_bias("rzn"),
    )
    params = cell.init(jax.random.key(0), FEATURES)
    for w in (params.wx, params.wh):
        assert 0.98 * bound < float(jnp.abs(w).max()) <= bound
        assert abs(float(w.std()) - bound / 3**0.5) < 0.02 * bound
    bias = initializers.torch_bias("rzn")(jax.random.key(1), 20_000, jnp.float64)
    r, z, n = bias.reshape(3, -1) * 20_000**0.5
    for summed in (r, z):  # the sum of two uniforms: a triangle on (-2, 2)
        assert abs(float(summed.std()) - (2 / 3) ** 0.5) < 0.02
        assert float(jnp.abs(summed).max()) > 1.9
    assert abs(float(n.std()) - 3**-0.5) < 0.02
    assert float(jnp.abs(n).max()) <= 1
    assert abs(float(jnp.corrcoef(r, z)[0, 1])) < 0.03


def test_identity_starts_as_a_conveyor_belt():
    cell = jaxrnn.simple_rnn(
        4, activation="relu", recurrent_init=initializers.identity(0.5)
    )
    wh = cell.init(jax.random.key(0), F).wh
    np.testing.assert_array_equal(wh, 0.5 * np.eye(4))


def test_the_same_key_draws_the_same_and_layers_differ():
    cell = jaxrnn.stack(jaxrnn.gru(4), jaxrnn.gru(4))
    one, two = cell.init(jax.random.key(3), 4)
    again, _ = cell.init(jax.random.key(3), 4)
    np.testing.assert_array_equal(one.wx, again.wx)
    assert float(jnp.abs(one.wx - two.wx).max()) > 0.1
    both = jaxrnn.bidirectional(jaxrnn.gru(4)).init(jax.random.key(3), 4)
    assert float(jnp.abs(both.forward.wx - both.backward.wx).max()) > 0.1


@pytest.mark.slow
def test_a_population_starts_without_batched_lapack():
    """jit(vmap(init)) must not hang: jaxlib's batched QR waits for its own threads."""
    cell = jaxrnn.stack(jaxrnn.lstm(4), jaxrnn.gru(5))
    keys = jax.random.split(jax.random.key(0), 7)
    start = jax.jit(jax.vmap(lambda key: cell.init(key, features=3)))
    decompositions = [
        line for line in start.lower(keys).as_text().splitlines() if "geqrf" in line
    ]
    assert len(decompositions) >= 2
    assert not any("tensor<7x" in line for line in decompositions)
    members = start(keys)
    for n, key in enumerate(keys):
        alone = cell.init(key, features=3)
        for a, b in zip(jax.tree.leaves(members), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[n], b, rtol=1e-12, atol=1e-12)


def test_the_last_layer_of_a_stack_may_show_what_is_no_vector():
    cell = jaxrnn.stack(jaxrnn.gru(H), jaxrnn.with_carries(jaxrnn.lstm(H + 1)))
    params = cell.init(jax.random.key(3), F)
    assert params[1].wx.shape == (H, 4 * (H + 1))
    xs = jnp.asarray(np.random.RandomState(3).randn(5, 3, F))
    last, (hs, carries) = jaxrnn.unroll(cell, params, None, xs)
    np.testing.assert_array_equal(carries.c[-1], last[1].c)
    np.testing.assert_array_equal(carries.h, hs)

"""Law 13, parameters: each one matters, counts equal the formula, statistics as stated."""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import initializers
from tests.laws import programs
from tests.laws.cases import CELLS, B, F, H, T, example, most

HIDDEN, FEATURES = 64, 48
KEY = jax.random.key(0)


class Dense(NamedTuple):
    """A cell with an input kernel, a recurrent kernel and a bias for each gate.

    ``more`` is how many parameters it has beside them, by the width.
    """

    make: Callable
    gates: int
    more: Callable = lambda h: 0


before = functools.partial(jaxrnn.gru, reset_after=False)
mgu_before = functools.partial(jaxrnn.mgu, reset_after=False)
learned = functools.partial(jaxrnn.leaky_rnn, learn_tau=True)
DENSE = {
    "simple_rnn": Dense(jaxrnn.simple_rnn, 1),
    "lstm": Dense(jaxrnn.lstm, 4),
    "gru": Dense(jaxrnn.gru, 3, lambda h: h),
    "gru_before": Dense(before, 3),
    "peephole_lstm": Dense(jaxrnn.peephole_lstm, 4, lambda h: 3 * h),
    "coupled_lstm": Dense(jaxrnn.coupled_lstm, 3),
    "layer_norm_lstm": Dense(jaxrnn.layer_norm_lstm, 4, lambda h: 10 * h),
    "layer_norm_gru": Dense(jaxrnn.layer_norm_gru, 3, lambda h: 7 * h),
    "dreamer_gru": Dense(jaxrnn.dreamer_gru, 3, lambda h: 3 * h),
    "mgu": Dense(jaxrnn.mgu, 2, lambda h: h),
    "mgu_before": Dense(mgu_before, 2),
    "janet": Dense(jaxrnn.janet, 2),
    "ugrnn": Dense(jaxrnn.ugrnn, 2),
    "lem": Dense(jaxrnn.lem, 4),
    "leaky_rnn": Dense(jaxrnn.leaky_rnn, 1),
    "leaky_rnn, τ": Dense(learned, 1, lambda h: h),
}
dense = pytest.mark.parametrize("name", DENSE)
# The parameters of the others: F features, H units.
COUNT = {
    "projected_lstm": lambda f, h: 4 * h * (f + 3 + 1) + 3 * h,
    "ind_rnn": lambda f, h: f * h + h + h,
    "antisymmetric_rnn": lambda f, h: 2 * (f * h + h) + h * (h - 1) // 2,
    "cornn": lambda f, h: h * (f + 2 * h + 1),
    "slstm": lambda f, h: 4 * (6 * f + 2 * 3 * 3 + 6),
    "conv_lstm": lambda f, h: 4 * 2 * (6 * f + 6 * 2 + 1),
    "conv_gru": lambda f, h: 3 * 3 * (3 * f + 3 * 3 + 1),
}


@most(alike=False)
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


@dense
def test_counts(name):
    make, gates, more = DENSE[name]
    params = make(HIDDEN).init(jax.random.key(0), FEATURES)
    want = gates * HIDDEN * (FEATURES + HIDDEN + 1) + more(HIDDEN)
    assert sum(a.size for a in params) == want


@pytest.mark.parametrize("name", COUNT)
def test_counts_of_the_others(name):
    params = CELLS[name].init(jax.random.key(0), F)
    assert sum(a.size for a in params) == COUNT[name](F, H)
    # drawn as it should be: kernels from a distribution, biases and scales at a start
    for field in ("wx", "wh", "u", "wp"):
        if hasattr(params, field):
            assert np.unique(getattr(params, field)).size > 2


@dense
def test_recurrent_kernels_are_orthogonal_per_gate(name):
    make, gates, _ = DENSE[name]
    wh = make(HIDDEN).init(jax.random.key(0), FEATURES).wh
    gates = jnp.split(wh, gates, -1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(HIDDEN), atol=1e-12)
    for one, two in itertools.pairwise(gates):
        assert float(jnp.abs(one - two).max()) > 0.1


@dense
def test_input_kernels_are_glorot_uniform_per_gate(name):
    make, gates, _ = DENSE[name]
    wx = make(HIDDEN).init(jax.random.key(0), FEATURES).wx
    bound = (6 / (FEATURES + HIDDEN)) ** 0.5
    for gate in jnp.split(wx, gates, -1):
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


# name -> where in b its gate is, and what it starts from: (letters, gate, start)
STARTS = {
    "peephole_lstm": ("ifgo", "f", 1.0),
    "coupled_lstm": ("igo", "i", -1.0),
    "layer_norm_lstm": ("ifgo", "f", 1.0),
    "dreamer_gru": ("rzn", "z", 1.0),
    "mgu": ("fn", "f", 1.0),
    "mgu_before": ("fn", "f", 1.0),
    "janet": ("fg", "f", 1.0),
    "ugrnn": ("zn", "z", 1.0),
}


@dense
def test_biases_scales_and_peepholes_start_as_stated(name):
    make, gates, _ = DENSE[name]
    params = make(8).init(jax.random.key(0), F)._asdict()
    b = np.asarray(params.pop("b")).reshape(gates, 8)
    want = np.zeros((gates, 8))
    if name in ("lstm", *STARTS):
        letters, gate, start = STARTS.get(name, ("ifgo", "f", 1.0))
        want[letters.index(gate)] = start
        sign, option = np.sign(start), "update_bias" if gate == "z" else "forget_bias"
        other = make(8, **{option: np.arange(8.0)}).init(jax.random.key(0), F).b
        given = want.copy()
        given[letters.index(gate)] = sign * np.arange(8)
        np.testing.assert_array_equal(np.reshape(other, (gates, 8)), given)
    np.testing.assert_array_equal(b, want)
    for field, value in params.items():
        if field[0] == "s":
            assert np.all(value == 1)
        if field in ("bn", "bc", "pi", "pf", "po"):
            assert not np.any(value)


def test_biases_of_images_start_as_stated():
    f = np.repeat([0.0, 1.0, 0.0, 0.0], 3)
    np.testing.assert_array_equal(jaxrnn.conv_lstm(3, 2).init(KEY, F).b, f)
    z = np.r_[np.zeros(3), [1.0, 2.0, 3.0], np.zeros(3)]
    cell = jaxrnn.conv_gru(3, 2, update_bias=np.array([1, 2, 3]))
    np.testing.assert_array_equal(cell.init(KEY, F).b, z)


def test_antisymmetric_kernels_have_the_variance_of_orthogonal_ones():
    u = jaxrnn.antisymmetric_rnn(HIDDEN).init(KEY, F).u
    assert abs(float(u.std()) * HIDDEN**0.5 - 1) < 0.05


def test_ind_rnn_remembers_for_one_step_and_for_many():
    u = jaxrnn.ind_rnn(1000).init(KEY, F).u
    assert 0 <= u.min() < 0.01 < 0.99 < u.max() <= 1
    assert abs(float(u.mean()) - 0.5) < 0.03


def test_biases_are_zero_unless_asked_for():
    params = jaxrnn.gru(8).init(jax.random.key(0), F)
    assert not np.any([*params.b, *params.bn])
    assert not np.any(jaxrnn.simple_rnn(8).init(jax.random.key(0), F).b)


@dense
def test_kernels_are_drawn_apart(name):
    """Of one shape and by one initializer they are still two draws."""
    init = initializers.glorot_uniform
    cell = DENSE[name].make(4, kernel_init=init, recurrent_init=init)
    params = cell.init(jax.random.key(0), 4)
    assert float(jnp.abs(params.wx - params.wh).min(-1).max()) > 0.01


@dense
def test_drawn_biases_come_in_the_dtype_asked_for(name):
    """`bias_init` may draw in any: float64 here, of which float32 is wanted."""
    make, gates, _ = DENSE[name]
    ramp = lambda key, hidden, dtype: jnp.linspace(-1, 1, gates * hidden)
    params = make(3, bias_init=ramp, dtype=jnp.float32).init(jax.random.key(0), F)
    assert params.b.dtype == jnp.float32
    np.testing.assert_array_equal(
        params.b, np.linspace(-1, 1, gates * 3).astype(np.float32)
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

"""Law 12, gates: forced to 0 or 1, the cell does exactly what its equation says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import (
    CELLS,
    ENGINES,
    B,
    F,
    H,
    T,
    assert_close,
    assert_same_bits,
    example,
)

# σ(±800) is 1 and 0 to the bit in float64.
OPEN, SHUT = 800.0, -800.0


def lstm_with(**biases):
    params, carry, xs = example("lstm")
    b = params.b.reshape(4, H)
    for gate, value in biases.items():
        b = b.at["ifgo".index(gate)].set(value)
    return params._replace(b=b.reshape(-1)), carry, xs


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_lstm_keeps_its_cell_state_bit_for_bit(engine):
    params, carry, xs = lstm_with(f=OPEN, i=SHUT)
    run = lambda c: (
        jaxrnn.unroll(CELLS["lstm"], params, carry._replace(c=c), xs, engine=engine)[
            0
        ].c
    )
    np.testing.assert_array_equal(run(carry.c), carry.c)
    jacobian = jax.jacrev(run)(carry.c).reshape(B * H, B * H)
    np.testing.assert_array_equal(jacobian, np.eye(B * H))


def test_lstm_with_a_shut_forget_gate_holds_the_last_candidate():
    params, carry, xs = lstm_with(f=SHUT, i=OPEN)
    before, _ = jaxrnn.unroll(CELLS["lstm"], params, carry, xs[:-1])
    g = np.tanh(
        (xs[-1] @ params.wx + before.h @ params.wh + params.b)[:, 2 * H : 3 * H]
    )
    last, _ = jaxrnn.unroll(CELLS["lstm"], params, carry, xs)
    np.testing.assert_allclose(last.c, g, rtol=0, atol=1e-14)


def test_lstm_with_a_shut_output_gate_shows_nothing():
    params, carry, xs = lstm_with(o=SHUT)
    last, hs = jaxrnn.unroll(CELLS["lstm"], params, carry, xs)
    assert not np.any(hs)
    assert np.all(last.c != 0)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_gru_with_an_open_keep_gate_keeps_its_state(engine):
    params, h, xs = example("gru")
    params = params._replace(b=params.b.at[H : 2 * H].set(OPEN))
    run = lambda h: jaxrnn.unroll(CELLS["gru"], params, h, xs, engine=engine)[0]
    np.testing.assert_array_equal(run(h), h)
    np.testing.assert_array_equal(
        jax.jacrev(run)(h).reshape(B * H, B * H), np.eye(B * H)
    )


def test_gru_with_a_shut_keep_gate_is_its_candidate():
    params, h, xs = example("gru")
    params = params._replace(b=params.b.at[H : 2 * H].set(SHUT))
    _, hs = jaxrnn.unroll(CELLS["gru"], params, h, xs)
    assert np.abs(hs).max() < 1  # tanh
    other, _ = jaxrnn.unroll(
        CELLS["gru"], params._replace(wh=0 * params.wh, bn=0 * params.bn), h, xs
    )
    np.testing.assert_allclose(
        other, np.tanh(xs[-1] @ params.wx + params.b)[:, 2 * H :], rtol=0, atol=1e-14
    )


def test_gru_with_a_shut_reset_gate_sees_no_memory_in_its_candidate():
    params, h, xs = example("gru")
    params = params._replace(b=params.b.at[:H].set(SHUT).at[H : 2 * H].set(SHUT))
    last, _ = jaxrnn.unroll(CELLS["gru"], params, h, xs)
    want = np.tanh(xs[-1] @ params.wx + params.b)[:, 2 * H :]
    np.testing.assert_allclose(last, want, rtol=0, atol=1e-14)
    assert jnp.shape(last) == (B, H)
    assert xs.shape == (T, B, F)


def forced(name, width, letters, **biases):
    """The table's cell of this name, with biases that force its gates."""
    params, carry, xs = example(name)
    b = params.b.reshape(len(letters), width)
    for gate, value in biases.items():
        b = b.at[letters.index(gate)].set(value)
    return params._replace(b=b.reshape(-1)), carry, xs


def first(carry):
    return jax.tree.leaves(carry)[0]


# name -> letters, biases that keep the memory as it is, and which memory that is
KEPT = {
    "gru_before": ("rzn", dict(z=OPEN), first),
    "peephole_lstm": ("ifgo", dict(f=OPEN, i=SHUT), lambda carry: carry.c),
    "coupled_lstm": ("igo", dict(i=SHUT), lambda carry: carry.c),
    "projected_lstm": ("ifgo", dict(f=OPEN, i=SHUT), lambda carry: carry.c),
    "layer_norm_lstm": ("ifgo", dict(f=OPEN, i=SHUT), lambda carry: carry.c),
    "layer_norm_gru": ("rzn", dict(z=OPEN), first),
    "dreamer_gru": ("rzn", dict(z=OPEN), first),
    "mgu": ("fn", dict(f=OPEN), first),
    "mgu_before": ("fn", dict(f=OPEN), first),
    "janet": ("fg", dict(f=OPEN), first),
    "ugrnn": ("zn", dict(z=OPEN), first),
    "antisymmetric_rnn": ("zn", dict(z=SHUT), first),
    "lem": ("adnm", dict(a=SHUT, d=SHUT), first),
    "slstm": ("ifgo", dict(i=SHUT, f=OPEN), lambda carry: (carry.c, carry.n)),
    "conv_lstm": ("ifgo", dict(f=OPEN, i=SHUT), lambda carry: carry.c),
    "conv_gru": ("rzn", dict(z=OPEN), first),
}


def width_of(name):
    return example(name)[0].b.size // len(KEPT[name][0])


@pytest.mark.parametrize("name", KEPT)
def test_an_open_gate_keeps_the_memory_bit_for_bit(name):
    letters, biases, memory = KEPT[name]
    params, carry, xs = forced(name, width_of(name), letters, **biases)
    last, _ = jaxrnn.unroll(CELLS[name], params, carry, xs)
    assert_same_bits(memory(last), memory(carry))


@pytest.mark.parametrize(
    "name", [name for name in KEPT if name not in ("antisymmetric_rnn", "lem")]
)
def test_a_shut_gate_forgets_the_memory(name):
    """What is remembered no longer depends on the memory itself, but through h."""
    letters, biases, memory = KEPT[name]
    opposite = {gate: -value for gate, value in biases.items()}
    params, carry, xs = forced(name, width_of(name), letters, **opposite)
    cut = params._replace(wh=0 * params.wh)
    other = jax.tree.map(lambda a: a + 0.3, carry)
    if name == "slstm":
        other = other._replace(m=carry.m)
    one, two = (memory(CELLS[name].step(cut, c, xs[0])[0]) for c in (carry, other))
    assert_close(one, two)
    assert float(jnp.abs(first(one)).max()) > 1e-3


def test_a_reset_gate_before_the_matmul_hides_the_memory():
    for name, letters in (("gru_before", "rzn"), ("conv_gru", "rzn")):
        params, h, xs = forced(name, width_of(name), letters, r=SHUT, z=SHUT)
        one, _ = CELLS[name].step(params, h, xs[0])
        two, _ = CELLS[name].step(params, h + 0.3, xs[0])
        assert_close(one, two)


def test_slstm_averages_what_has_entered():
    """With f=1 and all i alike, h is o times the mean of g, however large i is."""
    params, _, xs = example("slstm")
    cut = params._replace(wh=0 * params.wh)
    wx, b = (jnp.asarray(a).reshape(-1, 4, 6) for a in (params.wx, params.b))
    for scale in (-300.0, 0.0, 300.0):
        these = cut._replace(
            wx=wx.at[:, :2].set(0).reshape(-1, 24),
            b=b.at[:, 0].set(scale).at[:, 1].set(OPEN).reshape(24),
        )
        _, hs = jaxrnn.unroll(CELLS["slstm"], these, None, xs)
        g = np.tanh(xs @ wx[:, 2] + b[0, 2])
        o = jax.nn.sigmoid(xs @ wx[:, 3] + b[0, 3])
        mean = np.cumsum(g, 0) / np.arange(1, T + 1)[:, None, None]
        np.testing.assert_allclose(hs, o * mean, rtol=0, atol=1e-12)


def test_slstm_of_exponents_that_overflow():
    """The stabiliser: values and gradients stay finite for exponents of ±1000."""
    cell = jaxrnn.slstm(6, heads=2, forget="exp")
    params, _, xs = example("slstm")
    big = params._replace(b=params.b.at[:12].set(np.linspace(-1000, 1000, 12)))
    f = lambda p: jnp.sum(jnp.sin(jaxrnn.unroll(cell, p, None, xs)[1]))
    value, grads = jax.value_and_grad(f)(big)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)


def test_a_leaky_unit_decays_by_its_time_constant():
    """Without input v falls by 1 - dt/τ a step."""
    tau = np.array([2.0, 4.0, 8.0])
    cell = jaxrnn.leaky_rnn(3, tau=tau, dt=0.5)
    params = cell.init(jax.random.key(0), F)._replace(wh=jnp.zeros((3, 3)))
    v, _ = jaxrnn.unroll(cell, params, jnp.ones((B, 3)), jnp.zeros((T, B, F)))
    np.testing.assert_allclose(v, [(1 - 0.5 / tau) ** T] * B, rtol=1e-12)
    learned = jaxrnn.leaky_rnn(3, tau=tau, dt=0.5, learn_tau=True)
    params = learned.init(jax.random.key(0), F)
    np.testing.assert_allclose(jax.nn.sigmoid(params.leak), 0.5 / tau, rtol=1e-12)


def test_dale_and_a_mask_hold_whatever_is_learned():
    """Row j of what h acts by has the sign of unit j, and nothing where none is."""
    signs, mask = np.array([1, -1, 1, 1, -1]), ~np.eye(5, dtype=bool)
    cell = jaxrnn.leaky_rnn(
        5, tau=2, dt=1, activation=lambda v: v, signs=signs, mask=mask
    )
    params = cell.init(jax.random.key(0), F)
    params = params._replace(wh=jnp.asarray(np.random.RandomState(0).randn(5, 5)))
    acts = jax.jacrev(lambda v: cell.step(params, v, jnp.zeros(F))[0])(jnp.zeros(5)).T
    apart = acts - 0.5 * np.eye(5)
    np.testing.assert_allclose(
        apart, 0.5 * signs[:, None] * np.abs(params.wh) * mask, rtol=0, atol=1e-14
    )


def test_an_antisymmetric_rnn_neither_grows_nor_fades():
    """Its Jacobian at h = 0 has eigenvalues 1 + ε(-γ ± iω)."""
    cell = jaxrnn.antisymmetric_rnn(6, epsilon=0.2, gamma=0.3)
    params = cell.init(jax.random.key(0), F)
    jacobian = jax.jacrev(lambda h: cell.step(params, h, jnp.zeros(F))[0])(jnp.zeros(6))
    eigenvalues = np.linalg.eigvals(jacobian)
    np.testing.assert_allclose(eigenvalues.real, 1 - 0.2 * 0.3, rtol=0, atol=1e-12)
    assert np.abs(eigenvalues.imag).max() > 0.05


def test_a_cornn_without_damping_oscillates():
    """One unit alone, without input: a symplectic Euler step keeps its energy."""
    cell = jaxrnn.cornn(1, dt=0.05, gamma=4.0, epsilon=0.0)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), F))
    start = jaxrnn.cells.CoRNNCarry(jnp.ones(1), jnp.zeros(1))
    _, hs = jaxrnn.unroll(cell, params, start, jnp.zeros((400, F)))
    assert 0.95 < float(hs.max()) < 1.05
    times = np.flatnonzero(np.diff(np.sign(hs[:, 0])))
    np.testing.assert_allclose(np.diff(times), np.pi / 2 / 0.05, atol=1.5)

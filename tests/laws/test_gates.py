"""Law 12, gates: forced to 0 or 1, the cell does exactly what its equation says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import CELLS, ENGINES, B, F, H, T, example

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

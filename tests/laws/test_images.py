"""Compositions of cells of images: each means what it means of vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import B, F, T, assert_close, randomise

ONE = jaxrnn.conv_lstm(3, (3, 2), strides=(2, 1), padding="VALID")
TWO = jaxrnn.conv_gru(2, (2, 3))
OPTIONS = dict(
    lengths=np.array([T, 2, 0]), resets=np.arange(T * B).reshape(T, B) % 4 == 3
)


def inputs(rows=7, columns=4):
    return jnp.asarray(np.random.RandomState(0).randn(T, B, rows, columns, F))


def drawn(cell):
    return randomise(1, cell.init(jax.random.key(0), F))


def unrolled(cell, params, xs, **options):
    return jaxrnn.unroll(cell, params, None, xs, **OPTIONS, **options)


def test_a_stack_is_one_after_the_other():
    """Of another size of image in each layer, and of other channels."""
    xs, cell = inputs(), jaxrnn.stack(ONE, TWO)
    params = drawn(cell)
    below, hs = unrolled(ONE, params[0], xs)
    above, want = unrolled(TWO, params[1], hs)
    assert want.shape == (T, B, 3, 3, 2)
    assert_close(unrolled(cell, params, xs), ((below, above), want))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(7, 4), (3, 2)])
def test_a_learned_carry_has_a_value_for_each_channel(size):
    cell = jaxrnn.learned_carry(jaxrnn.stack(ONE, TWO))
    params, xs = drawn(cell), inputs(*size)
    assert [a.shape for a in jax.tree.leaves(params.carry)] == [(3,), (3,), (2,)]
    start = cell.initial_carry(params, xs[0])
    flat = zip(jax.tree.leaves(start), jax.tree.leaves(params.carry), strict=True)
    for got, learned in flat:
        assert got.ndim == 4
        np.testing.assert_array_equal(got, np.broadcast_to(learned, got.shape))
    # a reset goes there: the row begins anew
    _, hs = unrolled(cell, params, xs)
    t, row = 1, 0
    assert OPTIONS["resets"][t, row]
    _, anew = jaxrnn.unroll(cell, params, None, xs[t : t + 1, row : row + 1])
    assert_close(hs[t, row], anew[0, 0])


@pytest.mark.slow
def test_both_directions_are_joined_by_channel():
    same = jaxrnn.conv_lstm(3, (3, 3))
    cell, xs = jaxrnn.bidirectional(same, TWO), inputs()
    params = drawn(cell)
    _, ahead = unrolled(same, params.forward, xs)
    _, back = unrolled(TWO, params.backward, xs, reverse=True)
    _, hs = unrolled(cell, params, xs)
    assert_close(hs, jnp.concatenate([ahead, back], -1))


def test_dropout_drops_single_pixels():
    cell, xs = jaxrnn.noise.dropout(TWO, 0.4), inputs(16, 16)
    params = drawn(cell)
    _, plain = jaxrnn.unroll(cell, params, None, xs)
    _, noisy = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(3))
    kept = np.asarray(noisy != 0)
    # a rate is a multiple of 2⁻¹⁶
    np.testing.assert_allclose(noisy, np.where(kept, plain / 0.6, 0), rtol=1e-4)
    assert abs(kept.mean() - 0.6) < 0.02
    for axis in range(kept.ndim):  # along no axis all alike
        assert kept.all(axis).mean() + (~kept).all(axis).mean() < 0.9

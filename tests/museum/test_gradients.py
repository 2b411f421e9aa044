"""Gradients: through padding, through time, and of the second order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import train
from tests.laws.cases import (
    CELLS,
    B,
    T,
    assert_close,
    assert_same_bits,
    by_hand,
    example,
    weighed,
)
from tests.museum.exhibits import exhibit

MASK = np.random.RandomState(0).rand(T, B) < 0.6


@pytest.mark.slow
@exhibit(
    20,
    "jax-ml/jax#749",
    plant=(
        "jaxrnn/engine/gated/tangent.py",
        "_waits.tangent",
        "tangents.add(pre, da, dpre)",
        "da",
    ),
)
def test_the_derivative_of_a_scan():
    """The derivative of a scan was wrong, as were grad and grad of grad of a loop."""
    cell, (params, carry, xs) = CELLS["gru"], example("gru")
    every, none = np.ones((T, B), bool), np.zeros((T, B), bool)
    fast = lambda *args: weighed(jaxrnn.unroll(cell, *args))
    loop = lambda *args: weighed(by_hand(cell, *args, every, none))

    def orders(loss):
        bent = lambda *args: weighed(jax.grad(loss, (0, 1, 2))(*args))
        both = lambda *args: [jax.grad(f, (0, 1, 2))(*args) for f in (loss, bent)]
        return jax.jit(both)(params, carry, xs)

    assert_close(orders(fast), orders(loop))


def graded(xs):
    params, carry, _ = example("lstm")

    def loss(params, carry, xs):
        return weighed(jaxrnn.unroll(CELLS["lstm"], params, carry, xs, mask=MASK))

    return jax.jit(jax.grad(loss, (0, 1, 2)))(params, carry, xs)


@exhibit(
    21,
    "google/flax: nn.RNN of 0.12.8",
    "jax-ml/jax#1052",
    "jax-ml/jax#17070",
    "jax-ml/jax#20601",
    "jax-ml/jax#26328",
    plant=("jaxrnn/unroll.py", "unroll", "xs = select(valid, xs, 0)", ""),
)
def test_nan_in_the_padding_leaves_the_loss_and_spoils_the_gradient():
    """The loss was unchanged to the bit, but every weight gradient was NaN."""
    _, _, xs = example("lstm")
    junk = jnp.where(MASK[..., None], xs, jnp.nan)
    assert_same_bits(graded(junk), graded(xs))


@exhibit(
    22,
    "tensorflow/tensorflow#6209",
    plant=(
        "jaxrnn/engine/gated/tangent.py",
        "_waits.tangent",
        "tangents.choose(new, valid, dn, dc)",
        "dn",
    ),
)
def test_gradients_go_through_several_invalid_steps():
    """From the second masked step on, the gradient was NaN although the step was masked."""
    params, carry, xs = example("lstm")
    mask = np.ones((T, B), bool)
    mask[1:4, 0] = False
    junk = jnp.where(mask[..., None], xs, jnp.inf)

    def last(xs, carry, **options):
        final, _ = jaxrnn.unroll(CELLS["lstm"], params, carry, xs, **options)
        return weighed(final)

    got = jax.jit(jax.grad(lambda xs, c: last(xs, c, mask=mask), (0, 1)))(junk, carry)
    want = jax.jit(jax.grad(last, (0, 1)))(
        xs[jnp.array([0, 4])], jax.tree.map(lambda a: a, carry)
    )
    assert_close(
        jax.tree.map(lambda a: a[0], got[1]), jax.tree.map(lambda a: a[0], want[1])
    )
    assert not got[0][1:4, 0].any()


@exhibit(
    23,
    "ragulpr/wtte-rnn#50",
    plant=(
        "jaxrnn/train/mean.py",
        "mean",
        "jnp.where(where, values, 0)",
        "values * where.astype(values.dtype)",
    ),
)
def test_a_mask_that_is_multiplied():
    """0 * NaN is NaN, so a mask must select values and not multiply them."""
    values = jnp.where(MASK, jnp.arange(T * B, dtype=float).reshape(T, B), jnp.nan)
    value, slope = jax.value_and_grad(lambda v: train.mean(v, MASK).value)(values)
    np.testing.assert_allclose(value, np.asarray(values)[MASK].mean())
    np.testing.assert_array_equal(slope, MASK / MASK.sum())

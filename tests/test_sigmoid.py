"""The sigmoid of gates: right over the whole range of every dtype, in every derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn

# How far the gate is open or shut until the derivative is no normal number any more.
RANGES = {"bfloat16": 87, "float16": 9.7, "float32": 87, "float64": 708}
# In eps. Half dtypes are rounded once, and so off by half an eps at most.
BUDGET = {"bfloat16": 0.51, "float16": 0.51, "float32": 4, "float64": 4}


def exact(x):
    """σ'(x) in NumPy's longest floats."""
    e = np.exp(-np.abs(np.asarray(x, np.longdouble)))
    return e / (1 + e) ** 2


@pytest.mark.parametrize("dtype", RANGES)
def test_the_derivative_holds_on_both_sides(dtype):
    x = jnp.linspace(-RANGES[dtype], RANGES[dtype], 501).astype(dtype)
    want = exact(np.asarray(x, np.float64))
    eps = float(jnp.finfo(dtype).eps)
    slopes = jax.vmap(jax.grad(jaxrnn.sigmoid))(x)
    forwards = jax.jvp(jaxrnn.sigmoid, (x,), (jnp.ones_like(x),))[1]
    for got in (slopes, forwards):
        assert got.dtype == x.dtype
        off = np.abs(np.asarray(got, np.longdouble) - want) / want
        assert off.max() < BUDGET[dtype] * eps
    assert float(slopes[-1]) > 0
    np.testing.assert_array_equal(jaxrnn.sigmoid(x), jax.nn.sigmoid(x))
    beside, _ = jax.jvp(jaxrnn.sigmoid, (x,), (jnp.ones_like(x),))
    plain = np.asarray(jax.nn.sigmoid(x), np.longdouble)
    off = np.abs(np.asarray(beside, np.longdouble) - plain) / plain
    assert off.max() < (1.2 if "16" in dtype else 1) * eps  # of two roundings


@pytest.mark.parametrize("dtype", RANGES)
def test_infinity_and_nan(dtype):
    x = jnp.array([-jnp.inf, jnp.inf, jnp.nan, 0.0], dtype)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(jaxrnn.sigmoid)))(x)
    np.testing.assert_array_equal(np.asarray(value, float), [0, 1, np.nan, 0.5])
    np.testing.assert_array_equal(np.asarray(slope, float), [0, 0, np.nan, 0.25])


def test_derivatives_of_every_order():
    """Of the derivatives of σ' = σ (1 - σ), which is exact near 0; at 0 itself too."""
    want = (
        lambda s: s * (1 - s),
        lambda s: s * (1 - s) * (1 - 2 * s),
        lambda s: s * (1 - s) * (1 - 6 * s + 6 * s**2),
        lambda s: s * (1 - s) * (1 - 14 * s + 36 * s**2 - 24 * s**3),
    )
    x = jnp.array([-1.5, -0.2, 0.0, 0.3, 2.0])
    f = jaxrnn.sigmoid
    for each in want:
        f = jax.grad(f)
        got = jax.vmap(f)(x)
        np.testing.assert_allclose(got, each(jax.nn.sigmoid(x)), rtol=0, atol=1e-15)
    total = lambda x: jnp.sum(jaxrnn.sigmoid(x) ** 2)
    plain = lambda x: jnp.sum(jax.nn.sigmoid(x) ** 2)
    np.testing.assert_allclose(
        jax.hessian(total)(x), jax.hessian(plain)(x), rtol=0, atol=1e-15
    )


def test_far_out_a_second_derivative_is_not_lost():
    """σ''(x) is -σ'(x) where the gate is open: 4e-8 at 17, in float32."""
    second = jax.grad(jax.grad(jaxrnn.sigmoid))(jnp.float32(17))
    np.testing.assert_allclose(second, -exact(17.0).astype(float), rtol=1e-6)


def test_numbers_and_integers():
    assert float(jaxrnn.sigmoid(0)) == 0.5
    assert jaxrnn.sigmoid(jnp.arange(2)).dtype == jnp.zeros(()).dtype
    assert jaxrnn.sigmoid(1j * jnp.ones(2)).dtype == jnp.complex128


@pytest.mark.parametrize(
    "engine", ["auto", pytest.param("scan", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("dtype", "bias"), [("bfloat16", 6), ("float16", 9), ("float32", 17)]
)
def test_an_open_memory_can_be_shut_again(dtype, bias, engine):
    cell = jaxrnn.lstm(1, dtype=dtype)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    carry = jaxrnn.cells.LSTMCarry(jnp.zeros(1, dtype), jnp.ones(1, dtype))
    xs = jnp.zeros((1, 1), dtype)

    def kept(b):
        p = params._replace(b=b)
        return jaxrnn.unroll(cell, p, carry, xs, engine=engine)[0].c[0]

    slope = jax.grad(kept)(jnp.array([0, bias, 0, 0], dtype))[1]
    want = float(exact(float(bias)))
    assert abs(float(slope) - want) < 16 * float(jnp.finfo(dtype).eps) * want


def test_the_keep_gate_of_a_gru_too():
    cell = jaxrnn.gru(1, dtype="bfloat16")
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    h, x = jnp.ones(1, "bfloat16"), jnp.zeros(1, "bfloat16")
    kept = lambda b: cell.step(params._replace(b=b), h, x)[0][0]
    slope = float(jax.grad(kept)(jnp.array([0, 6, 0], "bfloat16"))[1])
    np.testing.assert_allclose(slope, float(exact(6.0)), rtol=0.03)

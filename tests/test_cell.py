"""What a cell shows of itself, and the types of carries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn._tree import one_step


def test_cells_show_what_they_are():
    bias = jnp.ones(3)
    cell = jaxrnn.bidirectional(
        jaxrnn.stack(jaxrnn.lstm(3, forget_bias=bias)), merge="sum"
    )
    stack = "stack(lstm(hidden=3, forget_bias))"
    assert repr(cell) == f"bidirectional({stack}, {stack}, merge=sum)"
    assert jaxrnn.gru(3, dtype=jnp.bfloat16).spec == (
        "gru",
        ("hidden", 3),
        ("dtype", "bfloat16"),
    )
    assert len({cell, jaxrnn.gru(3)}) == 2  # hashable: may be a static argument


def test_a_function_is_shown_in_brackets():
    def tanh(a):  # not what is called "tanh"
        return jnp.sin(a)

    mine = jaxrnn.simple_rnn(3, activation=tanh)
    assert repr(mine) == "simple_rnn(hidden=3, activation=<tanh>)"
    assert repr(jaxrnn.simple_rnn(3)) == "simple_rnn(hidden=3, activation=tanh)"


def test_a_carry_of_numpys_own_float_where_jax_has_no_float64():
    with jax.enable_x64(False):
        cell = jaxrnn.gru(3)
        params = cell.init(jax.random.key(0), 2)
        h = np.random.RandomState(0).randn(4, 3)
        _, wide = cell.step(params, h, jnp.ones((4, 2)))
        _, narrow = cell.step(params, h.astype(np.float32), jnp.ones((4, 2)))
        np.testing.assert_array_equal(wide, narrow)
        assert wide.dtype == jnp.float32


@pytest.mark.parametrize("shape", [(5, 3, 2), (0, 3, 2), (5, 0, 2)])
def test_one_step_is_the_rest_of_the_type(shape):
    """The first axes go, empty ones too; a sum of integers would be wider."""
    dtypes = ("int8", "int32", "bool", "float16", "float64")
    xs = {name: jnp.zeros(shape, name) for name in dtypes}
    for axes in (1, 2):
        step = one_step(xs, axes)
        assert {name: (a.shape, a.dtype) for name, a in step.items()} == {
            name: (shape[axes:], np.dtype(name)) for name in dtypes
        }


def test_an_initial_carry_keeps_its_values_in_the_steps_dtype():
    """Written in JAX's default float, for params of another."""
    start = np.random.RandomState(0).randn(3)
    cell = jaxrnn.gated(
        init=lambda key, features: jax.random.normal(key, (features, 3), jnp.float32),
        initial_carry=lambda p, x: jnp.zeros((*x.shape[:-1], 3)) + start,
        project=lambda p, x: (x @ p,),
        recur=lambda p, h, z: (z[0] + 0.5 * h,),
        gates=lambda p, h, a: (jnp.tanh(a[0]),),
        update=lambda p, h, g: g[0],
        output=lambda p, h: h,
    )
    params = cell.init(jax.random.key(0), 2)
    carry = cell.initial_carry(params, jnp.ones((4, 2), jnp.float32))
    assert carry.dtype == jnp.float32
    np.testing.assert_array_equal(carry, np.tile(start.astype(np.float32), (4, 1)))

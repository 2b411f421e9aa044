"""Law 11, dtype: the carry's dtype is a fixed point, nothing is promoted unasked."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from tests.laws.cases import CELLS, B, F, T, assert_close, example, weighed

FLOATS = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64)
names = pytest.mark.parametrize(
    "name", ["simple_rnn", "lstm", "gru", "own_gated", "stack"]
)


def cast(tree, dtype):
    floats = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
    return jax.tree.map(lambda a: a.astype(dtype) if floats(a) else a, tree)


@names
@pytest.mark.parametrize("of_params", FLOATS, ids=lambda d: d.__name__)
@pytest.mark.parametrize("of_x", FLOATS, ids=lambda d: d.__name__)
def test_the_carry_is_a_fixed_point(name, of_params, of_x):
    cell = CELLS[name]
    if name == "own_gated" and of_params != of_x:
        return  # its gain is as wide as its params; the table is about x and params
    params, _, xs = example(name)
    params, x = cast(params, of_params), cast(xs[0], of_x)
    start = cell.initial_carry(params, x)
    carry, h = jax.eval_shape(cell.step, params, start, x)
    dtypes = lambda t: [a.dtype for a in jax.tree.leaves(t)]
    assert dtypes(carry) == dtypes(start)
    wide = jnp.promote_types(of_params, of_x)
    assert h.dtype == wide
    assert all(d in (wide, jnp.int32) for d in dtypes(start))


@names
def test_float32_laws(name):
    """Step, batch and transform in float32 to its own precision: both engines."""
    args = [cast(t, jnp.float32) for t in example(name)]
    f = lambda engine: jax.jit(
        jax.value_and_grad(
            lambda p, c, x: weighed(
                jaxrnn.unroll(CELLS[name], p, c, x, engine=engine)
            ).astype(jnp.float32),
            (0, 2),
        )
    )(*args)
    assert_close(
        f("auto"), f("scan"), tolerance=2e-6
    )  # sums of T*B products in float32


@pytest.mark.parametrize("make", [jaxrnn.simple_rnn, jaxrnn.lstm, jaxrnn.gru])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.__name__)
def test_params_are_drawn_in_the_dtype_asked_for(make, dtype):
    params = make(4, dtype=dtype).init(jax.random.key(0), F)
    assert {a.dtype for a in params} == {jnp.dtype(dtype)}
    wide = make(4, dtype=jnp.float64).init(jax.random.key(0), F)
    assert float(jnp.abs(wide.wh).max()) > 0.1
    if dtype == jnp.bfloat16:  # the float32 draw, rounded
        assert_close(
            params.wh,
            make(4, dtype=jnp.float32).init(jax.random.key(0), F).wh.astype(dtype),
        )


def test_strict_promotion():
    params, carry, xs = example("lstm")
    assert xs.shape == (T, B, F)
    with jax.numpy_dtype_promotion("strict"):
        jax.grad(lambda p: weighed(jaxrnn.unroll(CELLS["lstm"], p, carry, xs)))(params)

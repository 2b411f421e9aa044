"""Law 11, dtype: the carry's dtype is a fixed point, nothing is promoted unasked."""

import functools

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from tests.laws import programs
from tests.laws.cases import (
    BUILT_IN,
    CELLS,
    STEPS,
    B,
    F,
    T,
    assert_close,
    each,
    example,
    most,
    weighed,
    with_grads,
)
from tests.laws.numpy_jaxpr import evaluate

# every factory of cells, by the width
MAKES = {
    name: getattr(jaxrnn, name)
    for name in dict.fromkeys(name.partition("_before")[0] for name in BUILT_IN)
    if hasattr(jaxrnn, name)
} | {
    "projected_lstm": functools.partial(jaxrnn.projected_lstm, projection=3),
    "conv_lstm": functools.partial(jaxrnn.conv_lstm, kernel=3),
    "conv_gru": functools.partial(jaxrnn.conv_gru, kernel=(2, 2)),
    "leaky_rnn, τ": functools.partial(jaxrnn.leaky_rnn, learn_tau=True),
}
FLOATS = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64)
QUICK = FLOATS[::2]
each_dtype = pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(d, id=d.__name__, marks=[] if d in QUICK else pytest.mark.slow)
        for d in FLOATS
    ],
)


def cast(tree, dtype):
    floats = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
    return jax.tree.map(lambda a: a.astype(dtype) if floats(a) else a, tree)


def typed(tree, dtype):
    """The types of `cast`, for which no number need be cast."""
    return jax.eval_shape(lambda tree: cast(tree, dtype), tree)


def check_fixed_point(name, of_params, of_x):
    cell = CELLS[name]
    params, _, xs = example(name)
    params, x = typed(params, of_params), typed(xs[0], of_x)
    start = jax.eval_shape(cell.initial_carry, params, x)
    carry, h = jax.eval_shape(cell.step, params, start, x)
    dtypes = lambda t: [a.dtype for a in jax.tree.leaves(t)]
    assert dtypes(carry) == dtypes(start)
    wide = jnp.promote_types(of_params, of_x)
    for kinds in (dtypes(h), dtypes(start)):
        assert all(d in (wide, jnp.int32) for d in kinds)


@most([name for name in STEPS if name != "precision"])
@each_dtype
def test_the_carry_is_a_fixed_point(name, dtype):
    check_fixed_point(name, dtype, dtype)


@each(("simple_rnn", "lstm", "gru", "stack"), quick=("lstm",))
@pytest.mark.parametrize("of_params", FLOATS, ids=lambda d: d.__name__)
@pytest.mark.parametrize("of_x", FLOATS, ids=lambda d: d.__name__)
def test_the_carry_is_a_fixed_point_for_inputs_of_another_dtype(name, of_params, of_x):
    check_fixed_point(name, of_params, of_x)


@each([n for n in CELLS if n != "precision"], quick=("lstm", "bare", "stack"))
def test_float32_laws(name):
    """Step, batch and transform in float32 to its own precision: both engines."""
    args = [cast(tree, jnp.float32) for tree in programs.given(name)]
    # sums of T*B products in float32, of numbers of about 1
    f = lambda engine: evaluate(with_grads(programs.unrolled(name, engine)), *args)
    assert_close(f("auto"), f("scan"), tolerance=2e-6)


@pytest.mark.parametrize("name", MAKES)
def test_all_params_are_drawn_in_the_dtype_asked_for(name):
    params = MAKES[name](4, dtype="bfloat16").init(jax.random.key(0), F)
    assert {a.dtype for a in params} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("make", [jaxrnn.simple_rnn, jaxrnn.lstm, jaxrnn.gru])
@each_dtype
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
        f = lambda p: weighed(jaxrnn.unroll(CELLS["lstm"], p, carry, xs))
        jax.make_jaxpr(jax.grad(f))(params)

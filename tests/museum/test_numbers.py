"""Dtypes, and what happens at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import CELLS, example
from tests.museum.exhibits import exhibit

PRECISION = "jaxrnn/precision.py"


@exhibit(
    26,
    "google/flax@8efa997",
    plant=("jaxrnn/gated.py", "gated.start", "retype(zeros, like)", "zeros"),
)
def test_an_initial_state_of_another_dtype_than_the_params():
    """Under x64 the state of a float32 model was float64, and so were all later values."""
    cell = jaxrnn.lstm(4, dtype=jnp.float32)
    params = cell.init(jax.random.key(0), features=3)
    xs = jax.random.normal(jax.random.key(1), (5, 2, 3), jnp.float32)
    last, hs = jaxrnn.unroll(cell, params, None, xs)
    start = cell.initial_carry(params, xs[0])
    assert {a.dtype for a in jax.tree.leaves((start, last, hs))} == {
        np.dtype("float32")
    }


@exhibit(
    27,
    "keras-team/keras#15164",
    "keras-team/keras#15140",
    plant=(
        PRECISION,
        "_gated.update",
        "_cast(updated(*_cast((params, carry, gates), kept)), kept)",
        "_cast(updated(*_cast((params, carry, gates), kept)), low)",
    ),
)
def test_the_state_in_mixed_precision():
    """The initial state was float32 where the layer computed in half precision, or vice versa."""
    cell = jaxrnn.precision(jaxrnn.lstm(4), compute=jnp.bfloat16, carry=jnp.float32)
    params = cell.init(jax.random.key(0), features=3)
    xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
    start = cell.initial_carry(params, xs[0])
    last, hs = jaxrnn.unroll(cell, params, start, xs)
    again, _ = jaxrnn.unroll(cell, params, last, xs)
    dtypes = lambda tree: {a.dtype for a in jax.tree.leaves(tree)}
    assert dtypes((start, last, again)) == {np.dtype("float32")}
    assert dtypes(hs) == {np.dtype(jnp.bfloat16)}


@exhibit(
    28,
    "jax-ml/jax@3ca6e5a",
    plant=(
        "jaxrnn/gated.py",
        "gated.start",
        "retype(zeros, like)",
        "jax.tree.map(lambda s: jnp.broadcast_to(0.0, s.shape), like)",
    ),
)
def test_a_state_of_weak_type_compiles_twice():
    """A weakly typed state comes back strongly typed, which compiles again or fails."""
    cell, (params, _, xs) = CELLS["gru"], example("gru")
    f = jax.jit(lambda carry, xs: jaxrnn.unroll(cell, params, carry, xs))
    carry = cell.initial_carry(params, xs[0])
    for _ in range(3):
        carry, _ = f(carry, xs)
    assert f._cache_size() == 1
    keep = lambda params, carry, x: (0.5 * carry + x[0], carry)
    last, _ = jaxrnn.unroll(keep, (), 1.0, jnp.ones((3, 1)))
    assert float(last) == 1.875


@exhibit(
    29,
    "pytorch/pytorch#177016",
    "pytorch/pytorch#32023",
    plant=(
        "jaxrnn/cells/lstm.py",
        "gates",
        "LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))",
        "LSTMGates(jnp.exp(i) / (1 + jnp.exp(i)), sigmoid(f), jnp.tanh(g), sigmoid(o))",
    ),
)
def test_a_row_that_is_nan_only_in_a_batch():
    """A sample was finite alone and NaN in a batch."""
    params, carry, xs = example("lstm")
    xs = xs.at[:, 1].multiply(1e30)
    last, hs = jaxrnn.unroll(CELLS["lstm"], params, carry, xs)
    assert all(jnp.isfinite(a).all() for a in jax.tree.leaves((last, hs)))
    for b in range(xs.shape[1]):
        alone = jaxrnn.cells.LSTMCarry(carry.h[b], carry.c[b])
        _, shown = jaxrnn.unroll(CELLS["lstm"], params, alone, xs[:, b])
        np.testing.assert_allclose(hs[:, b], shown, 1e-12, 1e-12)


@exhibit(
    30,
    "pytorch/pytorch#175845",
    plant=(
        PRECISION,
        "precision",
        "_dtype('carry', carry, wide)",
        "_dtype('carry', carry, low)",
    ),
)
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_loses_the_memory(half):
    """The error of an LSTM in half precision was far larger than its inputs' rounding."""
    plain = jaxrnn.lstm(8, forget_bias=7.0)
    cell = jaxrnn.precision(plain, compute=half)
    params = plain.init(jax.random.key(0), features=3)
    xs = 0.3 + jax.random.normal(jax.random.key(1), (400, 2, 3))
    (want, _), (got, _) = (
        jax.jit(lambda c=c: jaxrnn.unroll(c, params, None, xs))() for c in (plain, cell)
    )
    error = jnp.linalg.norm(got.c - want.c) / jnp.linalg.norm(want.c)
    # A hundredth is some units in the last place of bfloat16's inputs; a carry in half
    # precision is off by a tenth and more.
    assert error < (0.01 if half == "bfloat16" else 0.002)


@exhibit(
    32,
    "jax-ml/jax@8b7cfcb",
    plant=(
        "jaxrnn/engine/scan.py",
        "in_chunks",
        "step_bytes() * length",
        "step_bytes() * length % 2 ** 31",
    ),
)
def test_sizes_beyond_32_bits():
    """The size of a workspace overflowed an int."""
    cell, steps = jaxrnn.lstm(2**10), 2**14
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), 2**10))
    # a multiple of 2³¹ bytes in all
    xs = jax.ShapeDtypeStruct((steps, 2**7, 2**10), jnp.float64)

    def loss(params, xs):
        return jnp.sum(jaxrnn.unroll(cell, params, None, xs, remat="auto")[1])

    program = str(jax.make_jaxpr(jax.grad(loss))(like, xs))
    assert "length=128" in program  # the root of the number of steps: chunks

"""Law 11, dtype, of `precision`: what is rounded, what is not, and what that buys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import jaxrnn
from jaxrnn import initializers
from tests.laws.cases import (
    AUTO,
    CELLS,
    ENGINES,
    B,
    F,
    H,
    T,
    assert_close,
    bare,
    example,
    later,
    marks,
    weighed,
)
from tests.laws.numpy_jaxpr import evaluate
from tests.laws.test_dtype import FLOATS, cast

HALVES = ("bfloat16", "float16")
# Of outputs and gradients against float64 with the same float32 weights and inputs, T=5,
# relative to the largest: operands, pre-activations and h are rounded (2^-9, 2^-12).
BUDGET = {"bfloat16": 0.04, "float16": 5e-3, "float32": 2e-6}
NAMES = ("lstm", "own_gated", "bare")
names = pytest.mark.parametrize("name", NAMES)
# Of what must be compiled: a gated cell, and one whose step alone is known.
compiled_ones = pytest.mark.parametrize("name", later(NAMES, quick=("lstm", "bare")))
halves = pytest.mark.parametrize("half", HALVES)
dtypes = lambda tree: {a.dtype.name for a in jax.tree.leaves(tree)}


def in_float32(name):
    params, _, xs = cast(example(name), jnp.float32)
    return params, xs


def run(cell, params, xs, **options):
    """Everything that a cell computes: its outputs, and gradients of a sum of them."""

    def loss(params, xs):
        out = jaxrnn.unroll(cell, params, None, xs, **options)
        return weighed(cast(out, jnp.float64)), out

    (_, out), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)
    return out, grads


@functools.cache
def float64(name):
    params, xs = cast(in_float32(name), jnp.float64)
    return evaluate(functools.partial(run, CELLS[name]), params, xs)


@functools.cache
def compiled(name, half, engine=AUTO):
    cell = jaxrnn.precision(CELLS[name], compute=half)
    return jax.jit(functools.partial(run, cell, engine=engine))


def worst(got, want):
    """The largest error of a leaf, relative to the largest number of that leaf."""
    off = lambda a, b: float(np.abs(a.astype(float) - b).max() / np.abs(b).max())
    return max(jax.tree.leaves(jax.tree.map(off, got, want)))


@names
def test_all_float64_is_the_cell_itself(name):
    params, xs = example(name)[::2]
    wide = dict(compute=jnp.float64, carry=jnp.float64, accum=jnp.float64)
    cell = jaxrnn.precision(CELLS[name], **wide)
    got, want = (
        evaluate(functools.partial(run, c), params, xs) for c in (cell, CELLS[name])
    )
    assert_close(got, want)


# Of lstm two pairs, and all pairs of all cells later.
PAIRS = [(jnp.bfloat16, jnp.float32), (jnp.float32, jnp.float16)]


@pytest.mark.parametrize(
    ("name", "compute", "carry"),
    [
        pytest.param(
            *(name, compute, carry),
            marks=marks(name) * (name != "lstm" or (compute, carry) not in PAIRS),
            id=f"{name}-{compute.__name__}-{carry.__name__}",
        )
        for name in NAMES
        for compute in FLOATS
        for carry in FLOATS
    ],
)
def test_each_dtype_is_what_was_asked_for(name, compute, carry):
    """The carry is a fixed point, whatever the dtypes of params and inputs are."""
    cell = jaxrnn.precision(CELLS[name], compute=compute, carry=carry)
    for of_params, of_x in ((jnp.float32, jnp.float64), (jnp.float16, jnp.bfloat16)):
        if name == "bare" and of_x != jnp.float64:
            continue  # its params are the table's own; once is enough
        params, x = cast(example(name)[0], of_params), cast(example(name)[2][0], of_x)
        start = cell.initial_carry(params, x)
        after, h = jax.eval_shape(cell.step, params, start, x)
        assert dtypes(after) == dtypes(start)
        assert dtypes(start) - {"int32"} == {carry.__name__}
        assert dtypes(h) == {compute.__name__}
        _, (dparams, dx) = jax.eval_shape(
            functools.partial(run, cell), params, x[None].repeat(2, 0)
        )
        assert dtypes(dparams) == {of_params.__name__}
        assert dtypes(dx) == {of_x.__name__}


def matmuls(jaxpr):
    """``(operand, operand, result)`` dtypes of every matmul in a jaxpr."""
    for eqn in jaxpr.eqns:
        if eqn.primitive is jax.lax.dot_general_p:
            yield tuple(v.aval.dtype.name for v in (*eqn.invars, *eqn.outvars))
        for inner in jaxprs_in_params(eqn.params):
            yield from matmuls(inner)


@names
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("accum", later(["float32", "float64"], quick=["float64"]))
def test_every_matmul_is_summed_in_accum(name, engine, accum):
    """Backwards too, where cotangents come in unrounded and weights rounded."""
    cell = jaxrnn.precision(CELLS[name], compute="bfloat16", accum=accum)
    params, xs = in_float32(name)
    forward = functools.partial(jaxrnn.unroll, cell, engine=engine)
    found = set(matmuls(jax.make_jaxpr(forward)(params, None, xs).jaxpr))
    assert found == {("bfloat16", "bfloat16", accum)}
    both = functools.partial(run, cell, engine=engine)
    found = set(matmuls(jax.make_jaxpr(both)(params, xs).jaxpr))
    assert found == {("bfloat16", "bfloat16", accum), (accum, accum, accum)}


def test_pre_activations_are_summed_in_accum():
    """256 + 0.5 - 256, by x, b and h: bfloat16 has no 256.5."""
    params = jaxrnn.cells.SimpleRNNParams(
        wx=jnp.array([[256.0]]), wh=jnp.array([[-256.0]]), b=jnp.array([0.5])
    )
    given = dict(params=params, carry=jnp.ones(1), x=jnp.ones(1))
    h = lambda **k: jaxrnn.precision(
        jaxrnn.simple_rnn(1), compute="bfloat16", carry="float64", **k
    ).step(**given)[0]
    np.testing.assert_allclose(h(), np.tanh([0.5]), rtol=1e-12)
    assert h(accum="bfloat16") != h()


@jax.custom_jvp
def doubled(x, w):
    return x @ w


@doubled.defjvp
def _(primals, tangents):
    (x, w), (dx, dw) = primals, tangents
    return x @ w, 2 * (dx @ w + x @ dw)


MATMULS = {
    "bare": lambda x, w: x @ w,
    "jitted": jax.jit(lambda x, w: jnp.einsum("...i,ij->...j", x, w)),
    "custom": doubled,
    "convolution": lambda x, w: jax.lax.conv_general_dilated(
        x[..., None, :], w[None], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )[..., 0, :],
}


@pytest.mark.parametrize("kind", MATMULS)
def test_a_bare_step_multiplies_in_compute_and_adds_in_carry(kind):
    """To the bit: products of bfloat16 numbers, and their sum, are exact in float64."""

    def step(params, carry, x):
        carry = carry + MATMULS[kind](x, params)
        return carry, carry

    cell = jaxrnn.Cell(
        init=lambda key, features: jnp.zeros((features, H)),
        initial_carry=lambda params, x: jnp.zeros((*x.shape[:-1], H), x.dtype),
        step=step,
    )
    how = dict(compute="bfloat16", carry="float64", accum="float64")
    cell = jaxrnn.precision(cell, **how)
    rng = np.random.RandomState(0)
    w, x, c = (jnp.asarray(rng.randn(*s)) for s in ((F, H), (B, F), (B, H)))
    rounded = lambda a: a.astype("bfloat16").astype(a.dtype)
    hidden = kind == "custom"  # what is inside is left as it is
    exact = (lambda a: a) if hidden else rounded
    np.testing.assert_allclose(
        cell.step(w, c, x)[0], c + exact(x) @ exact(w), rtol=0, atol=1e-14
    )
    f = lambda w, x: cell.step(w, c, x)[0].sum()
    dw, dx = jax.grad(f, (0, 1))(w, x)
    times = 2 if hidden else 1  # its own derivative is kept
    want = times * exact(w).sum(1) * jnp.ones((B, 1))
    np.testing.assert_allclose(dx, want, rtol=0, atol=1e-14)
    want = times * exact(x).sum(0)[:, None] * jnp.ones(H)
    np.testing.assert_allclose(dw, want, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "name", ["gru_before", "projected_lstm", "lem", "slstm", "conv_lstm", "conv_gru"]
)
def test_every_product_is_of_rounded_numbers(name):
    """Wherever it is: in recur, in gates, in update."""

    def operands(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
                yield [v.aval.dtype.name for v in eqn.invars]
            for value in eqn.params.values():
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    yield from operands(inner)

    params, carry, xs = (cast(tree, jnp.float32) for tree in example(name))
    count = lambda cell: [
        *operands(jax.make_jaxpr(cell.step)(params, carry, xs[0]).jaxpr)
    ]
    plain, rounded = CELLS[name], jaxrnn.precision(CELLS[name], compute="bfloat16")
    assert len(count(plain)) == len(count(rounded)) >= 2
    assert all(found == ["bfloat16"] * 2 for found in count(rounded))


def test_what_waits_for_the_backward_pass_is_in_compute():
    cell = jaxrnn.precision(CELLS["lstm"], compute="bfloat16", accum="float64")
    params, xs = in_float32("lstm")
    start = cell.initial_carry(params, xs[0])
    z = cell.parts.project(params, xs[0])
    pre = cell.parts.recur(params, start, z)
    gates = cell.parts.gates(params, start, pre)
    names = [dtypes(a) for a in (start, z, pre, gates)]
    assert names == [{"float32"}, {"float64"}, {"bfloat16"}, {"float32"}]


@compiled_ones
@halves
@pytest.mark.parametrize(
    "engine",
    [pytest.param(AUTO, id="auto"), pytest.param("scan", marks=pytest.mark.slow)],
)
def test_error_against_float64_stays_in_budget(name, half, engine):
    error = worst(compiled(name, half, engine)(*in_float32(name)), float64(name))
    assert BUDGET[half] / 30 < error < BUDGET[half]


@names
def test_float32_by_default(name):
    """compute=None is JAX's default float, carry and accum at least float32."""
    cell = jaxrnn.precision(CELLS[name], compute="float32")
    got = evaluate(functools.partial(run, cell), *in_float32(name))
    assert worst(got, float64(name)) < BUDGET["float32"]
    assert dtypes(got) - {"int32"} == {"float32"}
    cell = jaxrnn.precision(CELLS[name], accum="float64")  # x64 is on
    got, want = (
        evaluate(functools.partial(run, c), *example(name)[::2])
        for c in (cell, CELLS[name])
    )
    assert_close(got, want)


@halves
def test_gradients_of_weights_are_not_rounded_to_compute(half):
    _, (dparams, _) = compiled("lstm", half)(*in_float32("lstm"))
    for g in dparams:
        assert float(jnp.mean(g.astype(half).astype(g.dtype) == g)) < 0.1


@functools.cache
def long(carry):
    """An LSTM of memories up to 1000 steps, over 2000 steps: its last c, and gradients.

    Each step adds about a thousandth to c, and keeps 0.999 of it.
    """
    base = jaxrnn.lstm(H, bias_init=initializers.chrono(1000), dtype=jnp.float32)
    params = base.init(jax.random.key(0), F)
    xs = jnp.asarray(np.random.RandomState(0).randn(2000, 2, F), jnp.float32)
    compute = "float64" if carry == "float64" else "bfloat16"
    cell = jaxrnn.precision(base, compute=compute, carry=carry)

    def loss(params):
        last, _ = jaxrnn.unroll(cell, params, None, xs)
        return jnp.mean(last.c.astype(jnp.float64) ** 2), last.c

    (_, c), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return c, grads


@pytest.mark.slow
def test_a_float32_carry_keeps_small_increments():
    """bfloat16 multiplies; only the carry's dtype differs. Measured: 0.013 against 1.6."""
    assert worst(long("float32"), long("float64")) < 0.02
    assert worst(long("bfloat16"), long("float64")) > 0.3


@compiled_ones
@halves
def test_gradients_of_saturated_gates_are_finite(name, half):
    params, xs = in_float32(name)
    out, grads = compiled(name, half)(params, xs * 2000)
    for a in jax.tree.leaves((out, grads)):
        assert np.isfinite(np.asarray(a, float)).all()


@pytest.mark.slow
@names
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_transformations_of_a_half_precision_cell(name, engine):
    """jvp, vmap, grad of grad, ragged rows and resets, against float64."""
    lengths, resets = np.array([T, 2, 0]), np.random.RandomState(4).rand(T, B) < 0.3
    options = dict(lengths=lengths, resets=resets, remat=2, engine=engine)

    def everything(cell, params, xs):
        def f(params):
            out = jaxrnn.unroll(cell, params, None, xs, **options)
            return weighed(cast(out, jnp.float64))

        many = jax.tree.map(lambda a: jnp.stack([a, -a]), params)
        squares = lambda p: sum(jnp.sum(g**2) for g in jax.tree.leaves(jax.grad(f)(p)))
        return (
            jax.jvp(f, (params,), (jax.tree.map(jnp.cos, params),)),
            jax.vmap(jax.grad(f))(many),
            jax.grad(squares)(params),
        )

    cell = jaxrnn.precision(CELLS[name], compute="bfloat16")
    got = jax.jit(functools.partial(everything, cell))(*in_float32(name))
    wide = cast(in_float32(name), jnp.float64)
    want = jax.jit(functools.partial(everything, CELLS[name]))(*wide)
    assert worst(got, want) < 0.15  # second derivatives: a few times the budget


@pytest.mark.slow
def test_compositions_of_wrapped_cells():
    half = functools.partial(jaxrnn.precision, compute="bfloat16")
    cell = jaxrnn.stack(jaxrnn.bidirectional(half(jaxrnn.gru(3))), half(bare()))
    params = cast(cell.init(jax.random.key(0), F), jnp.float32)
    given = params, in_float32("lstm")[1]
    (carry, hs), (dparams, _) = jax.jit(functools.partial(run, cell))(*given)
    assert (dtypes(carry), dtypes(dparams)) == ({"float32"}, {"float32"})
    assert hs.dtype == jnp.bfloat16
    params, xs = in_float32("lstm")
    shown = jaxrnn.with_carries(half(CELLS["lstm"]))
    _, (hs, carries) = jaxrnn.unroll(shown, params, None, xs)
    assert dtypes(carries) == {"float32"}
    np.testing.assert_array_equal(carries.h.astype("bfloat16"), hs)


@pytest.mark.slow
def test_strict_promotion():
    cell = jaxrnn.precision(CELLS["lstm"], compute="bfloat16", accum="float64")
    params, xs = in_float32("lstm")
    cell.initial_carry(params, xs[0])  # asks once what init draws, which promotes
    with jax.numpy_dtype_promotion("strict"):
        run(cell, params, xs)
        jaxrnn.precision(CELLS["lstm"], compute="bfloat16", accum="float64")


def test_it_says_what_it_is():
    cell = jaxrnn.precision(jaxrnn.gru(3), compute=jnp.float16, accum="float64")
    assert repr(cell) == (
        "precision(gru(hidden=3), compute=float16, carry=float32, accum=float64)"
    )

"""Law 11, numbers: errors in a budget for each dtype, and what happens at their edges.

docs/numbers.md has the budgets and what was measured.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import CELLS, F, example, randomise

HALF = (jnp.bfloat16, jnp.float16)
FLOATS = (*HALF, jnp.float32, jnp.float64)
# In units of the dtype's eps, after 100 steps: hs as they are, gradients as a part of
# the largest.
OUTPUTS, GRADIENTS = 4, 16
STEPS, ROWS, HIDDEN = 100, 3, 16
WIDE = {
    "simple_rnn": jaxrnn.simple_rnn(HIDDEN),
    "lstm": jaxrnn.lstm(HIDDEN),
    "gru": jaxrnn.gru(HIDDEN),
    "stack": jaxrnn.stack(jaxrnn.lstm(HIDDEN), jaxrnn.gru(HIDDEN)),
    "bidirectional": jaxrnn.bidirectional(jaxrnn.lstm(HIDDEN), jaxrnn.gru(HIDDEN)),
}
QUICK = ("gru",)
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "numbers.md"

# Each is a program to compile.
floats = pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(d, id=d.__name__, marks=() if d in HALF else pytest.mark.slow)
        for d in FLOATS
    ],
)


def each(names, quick):
    return pytest.mark.parametrize(
        "name",
        [pytest.param(n, marks=() if n in quick else pytest.mark.slow) for n in names],
    )


def cast(tree, dtype):
    number = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
    return jax.tree.map(lambda a: a.astype(dtype) if number(a) else a, tree)


def sines(out):
    """A loss in float64: of rounding, only the cell's own is left."""
    leaves = [a for a in jax.tree.leaves(out) if jnp.issubdtype(a.dtype, jnp.floating)]
    return sum(jnp.sum(jnp.sin(2 * a.astype(jnp.float64) + 1)) for a in leaves)


def gradients(cell):
    """Compiled ``(params, xs) -> ((loss, (carry, hs)), (dparams, dxs))``."""

    def loss(params, xs):
        out = jaxrnn.unroll(cell, params, None, xs)
        return sines(out), out

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


wide, small = (
    functools.cache(lambda name, table=table: gradients(table[name]))
    for table in (WIDE, CELLS)
)


def finite(tree):
    return all(np.isfinite(np.asarray(a, float)).all() for a in jax.tree.leaves(tree))


def error(got, want, relative=False):
    """The largest over all leaves; `relative` to the largest entry of each."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        worst = max(worst, np.abs(a - b).max() / (np.abs(b).max() if relative else 1))
    return worst


@each(WIDE, QUICK)
@pytest.mark.parametrize("dtype", FLOATS[:3], ids=lambda d: d.__name__)
def test_errors_after_a_hundred_steps(name, dtype):
    """Against float64 with the same rounded weights and inputs."""
    cell = WIDE[name]
    params = cell.init(jax.random.key(0), F)
    params = jax.tree.map(jnp.add, params, randomise(1, params, 0.1))
    xs = jnp.asarray(np.random.RandomState(2).randn(STEPS, ROWS, F))
    params, xs = cast(params, dtype), cast(xs, dtype)
    (_, (last, hs)), grads = wide(name)(params, xs)
    (_, (_, want)), exact = wide(name)(*cast((params, xs), jnp.float64))
    eps = float(jnp.finfo(dtype).eps)
    assert error(hs, want) <= OUTPUTS * eps
    assert error(grads, exact, relative=True) <= GRADIENTS * eps


@each(["simple_rnn", "lstm", "gru", "own_gated", "bidirectional"], ("lstm",))
@floats
@pytest.mark.parametrize("size", [2000.0, 1e30])
def test_inputs_that_saturate_every_gate(name, dtype, size):
    """All is finite, and the outputs are those of float64 with the same inputs."""
    params, _, xs = cast(example(name), dtype)
    most = float(jnp.finfo(dtype).max)
    xs = jnp.clip(xs.astype(jnp.float64) * size, -most, most).astype(dtype)
    (loss, out), grads = small(name)(params, xs)
    assert finite((loss, out, grads))
    (_, want), exact = small(name)(*cast((params, xs), jnp.float64))
    bound = 16 * float(jnp.finfo(dtype).eps)
    got = [a for a in jax.tree.leaves(out) if jnp.issubdtype(a.dtype, jnp.floating)]
    floating = [
        a for a in jax.tree.leaves(want) if jnp.issubdtype(a.dtype, jnp.floating)
    ]
    for a, b in zip(got, floating, strict=True):
        b = np.asarray(b)
        assert (np.abs(np.asarray(a, float) - b) <= bound * np.maximum(1, abs(b))).all()
    assert finite(exact)


@each(["simple_rnn", "lstm", "gru", "own_gated", "bidirectional"], ("lstm",))
@floats
def test_subnormal_inputs(name, dtype):
    """They are inputs of zero, kept or flushed: the derivatives there are no smaller."""
    params, _, xs = cast(example(name), dtype)
    tiny = np.asarray(8 * np.sign(np.asarray(xs, float)), np.float64)
    tiny = (tiny * float(jnp.finfo(dtype).smallest_subnormal)).astype(dtype)
    assert np.any(np.asarray(tiny) != 0)
    (_, (_, hs)), grads = small(name)(params, jnp.asarray(tiny))
    (_, (_, zero)), exact = small(name)(params, jnp.zeros_like(xs))
    eps, normal = (float(getattr(jnp.finfo(dtype), k)) for k in ("eps", "tiny"))
    assert error(hs, zero) <= max(normal, eps * 16 * (dtype == jnp.float16))
    (dparams, dxs), (wanted, dzero) = grads, exact
    assert float(jnp.abs(dzero.astype(jnp.float64)).max()) > 0.01
    assert error(dxs, dzero, relative=True) <= 16 * eps
    # The input kernel's own gradient is as small as its inputs.
    rest = lambda tree: jax.tree.leaves(tree._replace(wx=tree.wx * 0))
    for one, two in zip(*map(_cells, (dparams, wanted)), strict=True):
        for a, b in zip(rest(one), rest(two), strict=True):
            scale = max(1.0, float(jnp.abs(b.astype(jnp.float64)).max()))
            assert error(a, b) <= 16 * eps * scale


def _cells(params):
    return params if isinstance(params, jaxrnn.BidirectionalParams) else [params]


LONG = 10_000
KEEP = 1 - 1e-4


@functools.cache
def remembered(kind):
    """``(cell, run)``: run gives what is left of a memory, and its derivatives."""
    logit = float(np.log(KEEP) - np.log1p(-KEEP))
    if kind == "lstm":
        cell = jaxrnn.lstm(3, forget_bias=logit)
        start = lambda d: jaxrnn.cells.LSTMCarry(
            jnp.full((2, 3), 0.3, d), jnp.full((2, 3), 0.7, d)
        )
    else:
        cell = jaxrnn.gru(3, update_bias=logit)
        start = lambda d: jnp.full((2, 3), 0.7, d)
    memory = lambda carry: carry.c if kind == "lstm" else carry

    def run(cell, params, carry, xs):
        def loss(params, carry):
            last, _ = jaxrnn.unroll(cell, params, carry, xs)
            return jnp.sum(memory(last).astype(jnp.float64)), memory(last)

        f = jax.value_and_grad(loss, (0, 1), has_aux=True)
        (_, left), (dparams, dcarry) = f(params, carry)
        return left, memory(dcarry), dparams

    return cell, start, jax.jit(run, static_argnums=0)


# Of what is left of the memory, and of its derivative by what it was: relative.
MEMORY = {
    ("lstm", "float32"): (2e-4, 2e-3),
    ("gru", "float32"): (2e-4, 2e-4),
    ("lstm", "precision, float16"): (2e-3, 2e-2),
    ("gru", "precision, float16"): (2e-3, 2e-3),
}
QUICK_MEMORY = ("lstm", "float32")


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param(*case, marks=() if case == QUICK_MEMORY else pytest.mark.slow)
        for case in MEMORY
    ],
)
def test_ten_thousand_steps_of_a_gate_near_one(kind, how):
    """1 - 1e-4, ten thousand times: e^-1 is left. Eight digits of it in float64."""
    cell, start, run = remembered(kind)
    params = cell.init(jax.random.key(0), F)
    params = jax.tree.map(lambda a: 0.02 * a if a.ndim == 2 else a, params)
    xs = jnp.asarray(np.random.RandomState(2).randn(LONG, 2, F))
    want, dwant, dexact = run(cell, params, start(jnp.float64), xs)
    used = cell if how == "float32" else jaxrnn.precision(cell, compute="float16")
    args = cast((params, start(jnp.float32), xs), jnp.float32)
    got, dgot, dparams = run(used, *args)
    assert finite((got, dgot, dparams, want, dwant, dexact))
    value, derivative = MEMORY[kind, how]
    assert error(got, want, relative=True) <= value
    assert error(dgot, dwant, relative=True) <= derivative


def _conveyor(dtype):
    """An LSTM whose forget gate is 1 and whose input gate is 0, whatever it reads."""
    cell = jaxrnn.lstm(3)
    most = 100.0 if dtype != jnp.float64 else 1000.0
    b = jnp.array([-most] * 3 + [most] * 3 + [0.1] * 6, dtype)
    params = randomise(3, cell.init(jax.random.key(0), F))
    return cell, cast(params, dtype)._replace(b=b)


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(d, marks=() if d in HALF else pytest.mark.slow, id=d.__name__)
        for d in FLOATS
    ],
)
def test_a_conveyor_belt_of_ten_thousand_steps(dtype):
    """c comes out bit for bit, and so does the gradient: 1, in every dtype."""
    cell, params = _conveyor(dtype)
    xs = jnp.asarray(np.random.RandomState(2).randn(LONG, 2, F), dtype)
    random = np.random.RandomState(3).randn(2, 2, 3)
    start = jaxrnn.cells.LSTMCarry(*jnp.asarray(random, dtype))

    @jax.jit
    def run(start):
        def last(start):
            return jaxrnn.unroll(cell, params, start, xs)[0].c

        c, back = jax.vjp(last, start)
        return c, back(jnp.ones_like(c))[0].c

    c, dc = run(start)
    np.testing.assert_array_equal(c, start.c)
    np.testing.assert_array_equal(dc, np.ones_like(start.c))


def test_the_page_states_the_budgets():
    text = " ".join(PAGE.read_text().split())
    assert f"{OUTPUTS} eps" in text
    assert f"{GRADIENTS} eps" in text
    for (kind, how), (value, derivative) in MEMORY.items():
        row = f"| {kind} | {how} | {value:.0e} | {derivative:.0e} |"
        assert row.replace("e-0", "e-") in text, row

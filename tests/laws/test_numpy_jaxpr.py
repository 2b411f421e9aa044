"""What the laws are evaluated with is right: NumPy and jitted JAX give the same.

A piece is a function ``[3, 4] -> [3, 4]``. Each is compared alone and in random chains
of others, in value, jvp and gradient. All are compiled as one program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.laws.cases import assert_close
from tests.laws.numpy_jaxpr import RULES, evaluate, trace

SHAPE = (3, 4)
rng = np.random.RandomState(0)
X, DX, W = (rng.randn(*SHAPE) for _ in range(3))
CONVOLVED = ("NHWC", "HWIO", "NHWC")


@jax.custom_jvp
def twisted(x):
    return jnp.sin(x)


@twisted.defjvp
def _(primals, tangents):
    return twisted(*primals), 3 * tangents[0]


def rows_of_batched_dot(x):
    a = jnp.stack([x, 2 * x + 1, jnp.cos(x)])  # [3, 3, 4]: batch in the middle
    return lax.dot_general(a, a[:, :, ::-1], (((0,), (0,)), ((1,), (1,))))[:, 0]


def convolved(x):
    w = jnp.asarray(W[:2, :2, None, None])
    image = x[None, :, :, None]
    return lax.conv_general_dilated(
        image, w, (1, 1), "SAME", dimension_numbers=CONVOLVED
    )[0, ..., 0]


def scanned(x, reverse=False):
    body = lambda c, row: (0.5 * jnp.sin(c) + row, c * row)
    last, rows = lax.scan(body, jnp.ones(4), x, reverse=reverse)
    return rows + last


def looped(x):
    grown = lambda state: (state[0] + 1, 1.1 * jnp.sin(state[1]) + 0.1 * x)
    return lax.while_loop(lambda state: state[0] < 3, grown, (0, x))[1]


def by_index(x):
    order = jnp.argsort(x[:, 0])
    return (
        jnp.take(x, order, 0) + x[jnp.array([2, 0, 0])] * x[1, jnp.array([3, -1, 2, 0])]
    )


def scattered(x):
    twice = jnp.array([2, 0, 2])
    added = jnp.zeros_like(x).at[twice].add(x)
    most = jnp.full_like(x, -0.2).at[twice, 1:3].max(x[:, 1:3])
    return added * x.at[1].set(0.3).at[0, 1].mul(2.0) + most


def moved(x):
    at = jnp.argmax(x[0])  # clamped by the slice where it is beyond
    part = lax.dynamic_slice(x, (at, jnp.array(1)), (2, 3))
    return lax.dynamic_update_slice(x, 2 * part, (at - 2, jnp.array(3)))


def padded(x):
    wide = lax.pad(x, 0.7, ((1, -1, 0), (-2, 3, 1)))
    return wide[:, :4] * lax.pad(x, 0.2, ((0, 0, 0), (2, -2, 0)))


def cumulated(x):
    return (
        jnp.cumsum(x, 1)
        + lax.cumsum(x, 0, reverse=True)
        + jnp.cumprod(x, 0)
        + lax.cummax(x, 1, reverse=True)
        + lax.cumlogsumexp(x, 1)
    )


def ordered(x):
    whole = jnp.round(x).astype(int)  # ties
    _, _, by = lax.sort((whole, -x, jnp.sin(x)), dimension=1, num_keys=2)
    return jnp.sort(x, 0) + by


def complex_numbers(x):
    a = lax.complex(x, jnp.cos(x))
    a = a * jnp.conj(a @ a.T.conj() @ a) / (2 + jnp.abs(a))
    return jnp.exp(a * 0.3).imag + a.real


def in_float32(x):
    a = x.astype(jnp.float32)
    wide = lax.dot_general(
        a, a, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float64
    )
    return jnp.tanh(a).astype(float) + wide.sum(0)[:, None]


def chosen(x):
    which = (jnp.abs(10 * x).astype(int)) % 3
    clipped = jnp.clip(x, -0.5, 0.4)
    return lax.select_n(which, x, jnp.sin(x), x**2) + jnp.where(x > 0, clipped, x[0])


def many_functions(x):
    y = 1 + x**2
    smooth = [jnp.exp2, jnp.expm1, jnp.log, jnp.log1p, jnp.sqrt, lax.rsqrt, jnp.cbrt]
    smooth += [jax.nn.sigmoid, lax.erf, lax.erfc, jnp.sinh, jnp.cosh, jnp.arctan]
    smooth += [jnp.tan, jnp.arcsinh, lambda y: jnp.arccosh(1 + y), lambda y: y**-3]
    smooth += [lambda y: jnp.arcsin(1 / (1 + y)), lambda y: jnp.arccos(1 / (1 + y))]
    smooth += [lambda y: jnp.arctanh(1 / (1 + y)), lambda y: y**x, jax.nn.softplus]
    smooth += [lambda y: jnp.arctan2(x, y), lambda y: jnp.abs(x) * jnp.sign(y - 1.5)]
    return sum(f(y) for f in smooth)


def whole_numbers(x):
    n = jnp.round(5 * x).astype(int)
    m = jnp.where(n == 0, 3, n[::-1] + jnp.where(n[::-1] == 0, 7, 0))
    bits = (n << 2) ^ (n >> 1) | (n & 5) ^ ~n
    whole = lax.div(n, m) + lax.rem(n, m) + bits + lax.shift_right_logical(n, 60)
    halves = lax.bitcast_convert_type(n, jnp.int16)
    rounded = jnp.floor(x) + jnp.ceil(2 * x) + lax.round(x + 0.5) + lax.rem(x, W)
    return whole + halves[..., 0] + rounded + n.sum(0) + n.prod(1)[:, None]


def reduced(x):
    return (
        x.max(0) * x.min(1)[:, None]
        + jnp.prod(x, 0)
        + x.mean()
        + jnp.argmin(x, 1)[:, None]
        + (x > 0).all(0)
        + (x > 1).any(1)[:, None]
        + jnp.var(x, 1, keepdims=True)
    )


def shaped(x):
    a = jnp.concatenate([x, x[::-1]], 1).reshape(2, 3, 4).transpose(1, 0, 2)
    a, b = jnp.split(jnp.tile(a, (1, 1, 2)), [5], -1)
    return a[:, 0, 1:] * b[:, 1, :1] + jnp.arange(4) * jnp.expand_dims(x[:, 0], 1)


PIECES = {
    "scan": scanned,
    "scan, reverse": functools.partial(scanned, reverse=True),
    "while": looped,
    "cond": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, lambda x: x**2, x),
    "switch": lambda x: lax.switch(5, [jnp.sin, jnp.cos, jnp.tanh], x),
    "fori": lambda x: lax.fori_loop(0, 3, lambda i, y: jnp.sin(y) + i * x, x),
    "custom_jvp": twisted,
    "checkpoint": jax.checkpoint(lambda x: jnp.sin(jnp.cos(x) @ W.T) @ W),
    "jit": jax.jit(lambda x: jnp.tanh(x) @ W.T @ W),
    "vmap": jax.vmap(lambda row: jnp.roll(row, 1) * row[0]),
    "dot, batched": rows_of_batched_dot,
    "einsum": lambda x: jnp.einsum("ij,kj,kl->il", x, W, x) / 3,
    "conv": convolved,
    "by index": by_index,
    "scatter": scattered,
    "dynamic slice": moved,
    "pad": padded,
    "cumulative": cumulated,
    "associative scan": lambda x: lax.associative_scan(lambda a, b: a * b + b, x),
    "sort": ordered,
    "complex": complex_numbers,
    "float32": in_float32,
    "select": chosen,
    "functions": many_functions,
    "whole numbers": whole_numbers,
    "reductions": reduced,
    "shapes": shaped,
    "barrier": lambda x: lax.optimization_barrier((x, jnp.sin(x)))[1],
}
NO_GRADIENT = ("while",)  # JAX has none


def chain(seed: int):
    """Five pieces, one after the other, each on what is at most 1."""
    names = [name for name in PIECES if name not in (*NO_GRADIENT, "float32")]
    names = np.random.RandomState(seed).choice(names, 5)

    def run(x):
        for name in names:
            x = PIECES[name](jnp.tanh(x))
        return x

    return run


CHAINS = {f"chain {seed}": chain(seed) for seed in range(5)}
ALL = PIECES | CHAINS


def everything(name, x, dx):
    f = ALL[name]
    value = jax.jvp(f, (x,), (dx,))
    if name in NO_GRADIENT:
        return value
    return value, jax.vjp(f, x)[1](jnp.asarray(W))


@functools.cache
def by_xla():
    run = lambda x, dx: {name: everything(name, x, dx) for name in ALL}
    return jax.device_get(jax.jit(run)(X, DX))


@pytest.mark.parametrize("name", ALL)
def test_numpy_gives_what_xla_gives(name):
    got = evaluate(functools.partial(everything, name), X, DX)
    # XLA has another tanh of float32; a chain has large derivatives
    tolerance = {"float32": 1e-6} | dict.fromkeys(CHAINS, 1e-11)
    assert_close(got, by_xla()[name], tolerance.get(name, 1e-12))


def test_a_program_is_traced_once():
    seen = []
    run = trace(lambda x: (seen.append(x), 2 * x)[1], X)
    np.testing.assert_array_equal(run(X), 2 * X)
    np.testing.assert_array_equal(run(DX), 2 * DX)
    assert len(seen) == 1


@pytest.mark.parametrize("wrong", [X[:2], X.astype(np.float32), [X], X.astype(int)])
def test_other_shapes_and_dtypes_are_refused(wrong):
    with pytest.raises(TypeError, match="traced with"):
        trace(jnp.sin, X)(wrong)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.fft.fft(x).imag,
        lambda x: jnp.linalg.cholesky(x @ x.T),
        lambda x: jax.pure_callback(np.sin, x, x),
        jax.jit(lambda x: lax.igamma(x**2, x**2)),  # inside
        lambda x: lax.scan(lambda c, row: (lax.igamma(c, row**2), c), x[0] ** 2, x)[1],
    ],
    ids=["fft", "cholesky", "pure_callback", "inside jit", "inside scan"],
)
def test_what_has_no_rule_is_left_to_jax(f):
    assert_close(evaluate(f, X), jax.device_get(jax.jit(f)(X)), 1e-12)


def test_a_rule_that_is_wrong_about_a_type_is_found(monkeypatch):
    narrow = lambda a: np.sin(a).astype(np.float32)
    monkeypatch.setitem(RULES, "sin", lambda **_: narrow)
    with pytest.raises(TypeError, match=r"sin: float64\[3,4\] expected, got float32"):
        evaluate(jnp.sin, X)


def test_nothing_leaks_from_what_is_not_selected():
    """A select chooses: what it leaves out, NaN too, is in no value and no gradient."""
    keep = np.array([True, False, True])[:, None]
    f = lambda x: jnp.sum(jnp.sin(jnp.where(keep, x, 0.0)) * W)
    for junk in (np.nan, np.inf, 1e30):
        dirty = np.where(keep, X, junk)
        got, want = (evaluate(jax.value_and_grad(f), x) for x in (dirty, X))
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])


def test_nan_and_infinity_are_what_they_are_in_xla():
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 800.0, -800.0])
    f = lambda x: (
        x * 0,
        jnp.maximum(x, 1),
        jax.nn.sigmoid(x),
        jnp.exp(x),
        x.max(),
        1 / x,
        jnp.log(x),
        jnp.isfinite(x),
        jnp.sort(x),
        jnp.argmax(x),
        jnp.clip(x, -1, 1),
        jnp.sign(x),
        x > 0,
        x != x,
    )
    for got, want in zip(evaluate(f, x), jax.jit(f)(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("mode", ["fill", "clip", "drop"])
def test_places_outside(mode):
    at = np.array([1, 7, -9, 2])
    f = lambda x: (
        x.at[at].get(mode="fill" if mode == "drop" else mode),
        x.at[:, at].add(2.0, mode=mode),
        x.astype(int).at[at].get(mode="fill"),
        (x > 0).at[at].get(mode="fill"),
    )
    for got, want in zip(evaluate(f, X), jax.jit(f)(X), strict=True):
        np.testing.assert_array_equal(got, want)


def test_keys_and_what_they_draw():
    def f(key, numbers):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers).reshape(2, 2)
        one, two = jax.random.split(keys[1, 0])
        draws = jax.vmap(lambda k: jax.random.bits(k, (3,), jnp.uint32))(keys[0])
        halves = lax.bitcast_convert_type(draws, jnp.uint16)
        data = jax.random.key_data(jnp.stack([one, two]))
        return halves, data, jax.random.uniform(two, (2,)), jax.random.key(numbers[0])

    args = jax.random.key(3), np.arange(4)
    *got, key = evaluate(f, *args)
    *want, other = jax.jit(f)(*args)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert key == other

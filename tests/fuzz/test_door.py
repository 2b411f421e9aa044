"""Calls of `unroll` with random arguments, most of them wrong."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxrnn
from tests.fuzz.contract import STEPS, Refused, meaning

QUICK, NIGHTLY = 50, 10_000
WAYS = ("eager", "jit", "shapes")
# Of the wider of params and inputs, a step; hs and carry are below 1.
TOLERANCE = {"float64": 1e-12, "float32": 3e-6}
some = st.sampled_from


def array(draw, shape, dtype, seed, scale=1.0):
    values = np.random.default_rng(seed).normal(size=shape) * scale
    return np.asarray(values, dtype)


@st.composite
def calls(draw, wide=False):
    """``(cell, params, carry, xs, options)``; each argument is right more often than not.

    Args:
        wide: shapes of all kinds, or a few, which compile once.
    """
    right = lambda: draw(some((True, True, True, False)))
    seed = draw(st.integers(0, 99))
    name = draw(some(tuple(STEPS)))
    steps, batch, features, hidden = 3, (2,), 2, 3
    if wide:
        steps = draw(some((0, 1, 2, 5)))
        batch = draw(some(((), (1,), (2,), (3,), (2, 2), (0,))))
        features, hidden = draw(some((1, 2))), draw(some((1, 3)))
    gates = {"simple_rnn": 1, "gru": 3}[name]
    kept = draw(some(("float32", "float64") if wide else ("float32",)))
    sizes = dict(wx=(features, gates * hidden), wh=(hidden, gates * hidden))
    sizes |= dict(b=(gates * hidden,)) | (dict(bn=(hidden,)) if name == "gru" else {})
    params = {
        k: array(draw, s, kept, seed + i) for i, (k, s) in enumerate(sizes.items())
    }

    shape, read = (steps, *batch, features), "float32"
    if not right():
        shape = draw(some((shape[:-1], (), (*shape, 1), (*shape[:-1], features + 1))))
    if not right():
        read = draw(some((np.float64, np.float16, ml_dtypes.bfloat16, np.int32, bool)))
    xs = array(draw, shape, read, seed + 9, draw(some((1.0, 1e4))))
    if draw(some((False,) * 9 + (True,))):
        xs = draw(some((None, xs.tolist(), "text", {"a": xs, "b": np.ones((7, 2))})))

    carry = None
    if draw(st.booleans()):
        shapes = [(*batch, hidden)] * 4
        shapes += [(1, hidden), (hidden,), (*batch, 1), (steps, hidden), ()]
        dtype = "float32" if right() else draw(some(("float64", "int32", "float16")))
        carry = array(draw, draw(some(shapes)), dtype, seed + 10, 0.5)
        if draw(some((False,) * 9 + (True,))):
            carry = draw(
                some(("text", carry.tolist(), (carry,), {"h": carry}, object()))
            )

    def flags(number):
        if draw(st.booleans()):
            return None
        shapes = [(steps, *batch)] * 4 + [(*batch, steps), (steps,), (steps, 1), batch]
        value = array(draw, draw(some(shapes)), float, seed + number) > 0
        return value if right() else draw(some((value.astype(int), value.tolist(), 1)))

    lengths = None
    if draw(st.booleans()):
        shapes = [batch] * 4 + [(1,), (), (steps,), (2, 1)]
        lengths = np.random.default_rng(seed).integers(0, steps + 1, draw(some(shapes)))
        if not right():
            lengths = draw(
                some(
                    (
                        lengths - 1,
                        lengths + 1,
                        lengths * 1.0,
                        lengths > 0,
                        lengths.tolist(),
                    )
                )
            )
    pick = lambda good, bad: draw(some(good)) if right() else draw(some(bad))
    options = dict(
        lengths=lengths,
        mask=flags(11),
        resets=flags(12),
        reverse=pick((False, True, np.True_), (1, None, "yes")),
        remat=pick((None, "auto", 2), (0, -1, True, 1.5, "never", np.int64(3))),
        engine=pick(("auto", "gated", "scan"), ("fast", None, True)),
    )
    return name, params, carry, xs, options


def made(name, params):
    cell = getattr(jaxrnn, name)(len(params["wh"]))
    kind = {"simple_rnn": jaxrnn.cells.SimpleRNNParams, "gru": jaxrnn.cells.GRUParams}[
        name
    ]
    return cell, kind(**{k: jnp.asarray(a) for k, a in params.items()})


def answer(way, name, params, carry, xs, options):
    """What `unroll` returns, called so."""
    cell, params = made(name, params)
    arrays = dict(carry=carry, xs=xs)
    arrays |= {k: options[k] for k in ("lengths", "mask", "resets")}
    rest = {k: v for k, v in options.items() if k not in arrays}

    def run(arrays):
        carry, xs = arrays["carry"], arrays["xs"]
        given = {k: v for k, v in arrays.items() if k not in ("carry", "xs")}
        return jaxrnn.unroll(cell, params, carry, xs, **given, **rest)

    if way == "eager":
        return run(arrays)
    traced = {k: v for k, v in arrays.items() if isinstance(v, np.ndarray)}
    fixed = {k: v for k, v in arrays.items() if k not in traced}
    f = lambda traced: run(traced | fixed)
    return jax.jit(f)(traced) if way == "jit" else jax.eval_shape(f, traced)


def check(way, call):
    """The values of the contract, or a ValueError that names the argument."""
    name, params, carry, xs, options = call
    known = way == "eager" or not isinstance(options["lengths"], np.ndarray)
    try:
        want = meaning(name, params, carry, xs, **options, known=known)
    except Refused:
        with pytest.raises(ValueError, match=REFUSAL):
            answer(way, *call)
        return
    got = answer(way, *call)
    kind = np.result_type(params["wh"].dtype, xs.dtype)
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype) == (b.shape, kind)
        if way != "shapes":
            bound = TOLERANCE[kind.name] * (1 + len(xs))
            np.testing.assert_allclose(np.asarray(a, np.float64), b, bound, bound)


# Which one of several wrong arguments is named is not part of the contract.
REFUSAL = r"^(xs|x|params|carry|lengths|mask|resets|reverse|remat|engine)\b.*:"
quietly = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(quietly, max_examples=QUICK)
@given(calls(), some(WAYS))
def test_a_call_is_right_or_refused(call, way):
    check(way, call)


@pytest.mark.nightly
@settings(quietly, max_examples=NIGHTLY)
@given(calls(wide=True), some(WAYS))
def test_ten_thousand_calls(call, way):
    check(way, call)

"""The last valid output of each row, and the flip of each row's valid steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws.cases import CELLS, B, H, T, assert_close, assert_same_bits, example

LENGTHS = np.array([T, 2, 0])
MASK = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool).T
VALID = {
    "all": {},
    "lengths": dict(lengths=LENGTHS),
    "mask": dict(mask=MASK),
    "both": dict(lengths=np.array([3, 2, 1]), mask=MASK),
}


def steps_of(lengths=None, mask=None):
    """Each row's valid steps, in NumPy."""
    valid = np.ones((T, B), bool) if mask is None else mask
    if lengths is not None:
        valid = valid & (np.arange(T)[:, None] < lengths)
    return [np.flatnonzero(row) for row in valid.T]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("given", VALID)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_last_output_is_the_final_carry(name, given, reverse):
    params, _, xs = example(name)
    options = dict(VALID[given], reverse=reverse)
    carry, hs = jaxrnn.unroll(CELLS[name], params, None, xs, **options)
    last = jaxrnn.last_output(hs, **options)
    # Not to the bit: XLA may compute h for the carry and for hs in two fusions.
    assert_close(last, carry.h if name == "lstm" else carry)
    twice = jaxrnn.last_output({"h": hs, "both": (hs, 2 * hs)}, **options)
    assert_same_bits(twice["both"], (last, 2 * last))


@pytest.mark.parametrize("given", VALID)
def test_reverse_is_flip_unroll_flip(given):
    params, carry, xs = example("gru")
    last, hs = jaxrnn.unroll(
        CELLS["gru"], params, carry, xs, reverse=True, **VALID[given]
    )
    turned = jaxrnn.flip(xs, **VALID[given])
    other, back = jaxrnn.unroll(CELLS["gru"], params, carry, turned, **VALID[given])
    np.testing.assert_allclose(last, other, rtol=0, atol=1e-12)
    flipped = jaxrnn.flip(back, **VALID[given])
    np.testing.assert_allclose(hs, flipped, rtol=0, atol=1e-12)


@pytest.mark.parametrize("given", VALID)
def test_valid_steps_change_places_among_themselves(given):
    xs = np.random.RandomState(0).randn(T, B, 2)
    got = np.asarray(jaxrnn.flip({"a": xs, "token": xs[..., 0]}, **VALID[given])["a"])
    want = np.zeros_like(xs)
    for row, steps in enumerate(steps_of(**VALID[given])):
        want[steps, row] = xs[steps[::-1], row]
    np.testing.assert_array_equal(got, want)
    again = jaxrnn.flip(got, **VALID[given])
    for row, steps in enumerate(steps_of(**VALID[given])):
        np.testing.assert_array_equal(again[steps, row], xs[steps, row])


@pytest.mark.parametrize("given", ["lengths", "mask", "both"])
def test_padding_of_nan_reaches_neither_value_nor_gradient(given):
    hs = np.full((T, B, H), np.nan)
    weights = np.random.RandomState(1).randn(T, B, H)
    for row, steps in enumerate(steps_of(**VALID[given])):
        hs[steps, row] = np.random.RandomState(row).randn(len(steps), H)

    def loss(hs, run):
        out = run(hs, **VALID[given])
        return jnp.sum(jnp.sin(out) * weights[: out.shape[0] if out.ndim == 3 else 1])

    for run in (jaxrnn.flip, jaxrnn.last_output):
        value, grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)(hs, run)
        assert np.isfinite(value)
        assert np.isfinite(grad).all()
        for row, steps in enumerate(steps_of(**VALID[given])):
            outside = np.setdiff1d(np.arange(T), steps)
            assert not np.asarray(grad)[outside, row].any()
        assert np.abs(grad[:, 0]).max() > 0.01


def test_rows_alone_many_axes_and_no_steps():
    hs = np.random.RandomState(2).randn(T, 2, B, H)
    lengths = np.array([[T, 2, 0], [1, 3, 4]])
    last = jaxrnn.last_output(hs, lengths=lengths)
    assert_same_bits(last[1, 2], hs[3, 1, 2])
    assert_same_bits(jaxrnn.last_output(hs[:, 0, 0], lengths=2), hs[1, 0, 0])
    assert_same_bits(jaxrnn.flip(hs[:, 0, 0], lengths=2)[:2], hs[1::-1, 0, 0])
    small = jnp.asarray(lengths[0], jnp.int8)
    long = np.random.RandomState(3).randn(300, B, 1)
    assert_same_bits(jaxrnn.last_output(long, lengths=small)[0], long[T - 1, 0])
    assert (
        jaxrnn.last_output(hs[:0], lengths=0 * lengths).tolist()
        == np.zeros((2, B, H)).tolist()
    )
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        jaxrnn.flip(hs, lengths=lengths)
        jaxrnn.last_output(hs, lengths=lengths, mask=np.ones((T, 2, B), bool))


@pytest.mark.parametrize("run", [jaxrnn.last_output, jaxrnn.flip])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(lengths=[1.0, 2.0, 0.0]), "lengths: expected integers"),
        (dict(lengths=[1, 2]), "lengths: expected the batch shape"),
        (dict(lengths=2), "lengths: expected the batch shape"),
        (dict(lengths=[9, 1, 1]), "lengths: expected 0 to 5"),
        (dict(mask=MASK.astype(int)), "mask: expected bool"),
        (dict(mask=MASK.T), "mask: expected"),
        (dict(mask=MASK, lengths=[1, 2]), "lengths: expected the batch shape"),
    ],
)
def test_errors(run, options, said):
    with pytest.raises(ValueError, match=said):
        run(np.zeros((T, B, H)), **options)
    with pytest.raises(ValueError, match="expected arrays"):
        run(None)


@pytest.mark.parametrize(
    "engine", ["auto", pytest.param("scan", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "make",
    [
        jaxrnn.gru,
        pytest.param(jaxrnn.lstm, marks=pytest.mark.slow),
        pytest.param(jaxrnn.simple_rnn, marks=pytest.mark.slow),
    ],
)
def test_dynamics_without_inputs(make, engine):
    """Inputs of no features: what runs is the recurrent part and the bias alone."""
    cell = make(4)
    params = cell.init(jax.random.key(0), 0)
    params = params._replace(b=jnp.linspace(-1, 1, params.b.size))
    wide = cell.init(jax.random.key(1), 2)._replace(
        **{k: v for k, v in params._asdict().items() if k != "wx"}
    )
    assert params.wx.shape == (0, params.b.size)

    def loss(params, features):
        xs = jnp.zeros((6, 2, features))
        _, hs = jaxrnn.unroll(cell, params, None, xs, engine=engine, lengths=[6, 3])
        return jnp.sum(jnp.sin(hs))

    value, grads = jax.value_and_grad(loss)(params, 0)
    other, theirs = jax.value_and_grad(loss)(wide, 2)
    np.testing.assert_allclose(value, other, rtol=1e-12)
    np.testing.assert_allclose(grads.wh, theirs.wh, rtol=0, atol=1e-12)
    assert float(jnp.abs(grads.b).max()) > 0.01

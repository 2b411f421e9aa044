"""Gates, biases and their order: what shapes alone cannot show."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import convert
from tests.laws.cases import CELLS, B, assert_close, example
from tests.museum.exhibits import exhibit

LSTM, GRU = "jaxrnn/cells/lstm.py", "jaxrnn/cells/gru.py"
OPTIONS = "jaxrnn/cells/options.py"
sigmoid = lambda a: 1 / (1 + np.exp(-a))


@exhibit(
    34,
    "patrick-kidger/equinox#215",
    plant=(LSTM, "project", "x @ params.wx + aligned(params.b, x)", "x @ params.wx"),
)
def test_a_bias_that_is_ignored():
    """The option for a bias was inverted; the tests checked shapes alone."""
    for name in ("simple_rnn", "lstm", "gru"):
        params, carry, xs = example(name)
        _, before = CELLS[name].step(params, carry, xs[0])
        for field in ("b", "bn")[: 1 + (name == "gru")]:
            moved = params._replace(**{field: getattr(params, field) + 0.1})
            _, after = CELLS[name].step(moved, carry, xs[0])
            assert (before != after).all(), (name, field)


@exhibit(
    35,
    "google/flax@1a3d87a",
    plant=(
        OPTIONS,
        "draw_bias",
        "bias_init(key, hidden, wide(dtype))",
        "0 * bias_init(key, hidden, wide(dtype))",
    ),
)
def test_a_bias_initializer_without_effect():
    """The bias initializer was set on one matmul, and the bias was on another."""
    drawn = lambda key, hidden, dtype: jnp.arange(4.0 * hidden, dtype=dtype)
    cell = jaxrnn.lstm(5, bias_init=drawn)
    params = cell.init(jax.random.key(0), features=3)
    np.testing.assert_array_equal(params.b, np.arange(20))


@exhibit(
    36,
    "keras-team/keras@4a075da",
    plant=(
        LSTM,
        "lstm.init",
        "draw.dense('ifgo', key, features, hidden, f=start_bias)",
        "draw.dense('ifgo', key, features, hidden, g=start_bias)",
    ),
)
def test_the_forget_bias_on_another_gate():
    """The ones of the unit forget bias were on another gate."""
    params = jaxrnn.lstm(5).init(jax.random.key(0), features=3)
    i, f, g, o = jnp.split(params.b, 4)
    assert (f == 1).all()
    assert not jnp.stack([i, g, o]).any()
    # and the second quarter is what forgets: with it far below 0, nothing is kept
    shut = params._replace(b=params.b.at[5:10].set(-1e3))
    cell, (x, c) = jaxrnn.lstm(5), (jnp.ones(3), jnp.arange(1.0, 6))
    carry = jaxrnn.cells.LSTMCarry(h=jnp.zeros(5), c=c)
    kept, _ = cell.step(shut, carry, x)
    anew, _ = cell.step(shut, carry._replace(c=0 * c), x)
    assert_close(kept, anew)


@exhibit(
    37,
    "pytorch/pytorch#750",
    "pytorch/pytorch#20102",
    plant=(
        "jaxrnn/convert/torch.py",
        "_read",
        "[found[name] for name in biases]",
        "[found[name] for name in biases][:1]",
    ),
)
def test_one_of_two_biases():
    """Two biases are added: reading only one, or setting both, is wrong."""
    r = np.random.default_rng(0)
    sizes = dict(weight_ih_l0=(20, 3), weight_hh_l0=(20, 5))
    sizes |= dict(bias_ih_l0=(20,), bias_hh_l0=(20,))
    state = {name: r.normal(size=size) for name, size in sizes.items()}
    _, params = convert.from_torch(state)
    np.testing.assert_allclose(params.b, state["bias_ih_l0"] + state["bias_hh_l0"])


def lstm_by_hand(params, h, c, x):
    """From the equations, in NumPy."""
    i, f, g, o = np.split(x @ params.wx + h @ params.wh + params.b, 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@exhibit(
    38,
    "apple/coremltools#309",
    plant=(
        LSTM,
        "gates",
        "LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))",
        "LSTMGates(sigmoid(i), sigmoid(f + (carry.c != 0)), jnp.tanh(g), sigmoid(o))",
    ),
)
def test_a_forget_bias_that_is_right_at_the_first_step_only():
    """The first step agreed, because the state it scales was zero; the third did not."""
    params, _, xs = example("lstm")
    weights = jax.tree.map(np.asarray, params)
    carry, _ = jaxrnn.unroll(CELLS["lstm"], params, None, xs)
    h = c = np.zeros((B, weights.wh.shape[0]))
    for x in np.asarray(xs):
        h, c = lstm_by_hand(weights, h, c, x)
    assert_close(carry, jaxrnn.cells.LSTMCarry(h, c))


@exhibit(
    39,
    "keras-team/keras#8860",
    "keras-team/keras#9112",
    "keras-team/keras#8307",
    plant=(
        "jaxrnn/convert/keras.py",
        "_read",
        "biases and biases[0].ndim == 1",
        "False",
    ),
)
def test_the_other_gru():
    """A GRU that resets before its matmul and one that resets after have the same kernels."""
    random = np.random.default_rng(0)
    wx, wh, b, row = (random.normal(size=n) for n in ((4, 15), (5, 15), 15, 15))
    _, h, xs = example("gru")
    h, x = np.asarray(h), np.asarray(xs[0])
    # Keras's order is z, r, h
    z, r, n = (np.split(x @ wx + b, 3, -1)[k] for k in range(3))
    (hz, hr, hn), (bz, br, bn) = np.split(h @ wh, 3, -1), np.split(row, 3)
    before, after = (
        convert.from_keras([wx, wh, b]),
        convert.from_keras([wx, wh, np.stack([b, row])]),
    )
    keep = sigmoid(z + hz)
    want = (1 - keep) * np.tanh(n + (sigmoid(r + hr) * h) @ wh[:, 10:]) + keep * h
    assert_close(before[0].step(before[1], jnp.asarray(h), x)[0], want)
    keep = sigmoid(z + hz + bz)
    want = (1 - keep) * np.tanh(n + sigmoid(r + hr + br) * (hn + bn)) + keep * h
    assert_close(after[0].step(after[1], jnp.asarray(h), x)[0], want)


@exhibit(
    40,
    "keras-team/keras#8720",
    plant=(GRU, "gates", "r, z, n, hn = pre", "z, r, n, hn = pre"),
)
def test_gates_in_another_order():
    """The order of the gates mattered only where biases were nonzero and different."""
    params, h, x = example("gru")[0], jnp.full(5, 0.5), jnp.zeros(4)
    zero = jax.tree.map(jnp.zeros_like, params)
    keep = zero._replace(b=jnp.repeat(jnp.array([0.0, 1e3, 0.0]), 5))
    assert_close(CELLS["gru"].step(keep, h, x)[0], h)
    shut = zero._replace(b=jnp.repeat(jnp.array([-1e3, -1e3, 0.0]), 5), bn=h + 1)
    assert not CELLS["gru"].step(shut, h, x)[0].any()


@exhibit(
    41,
    "microsoft/onnxruntime#3893",
    plant=(
        GRU,
        "recur",
        "aligned(params.bn, n)",
        "jnp.where(params.bn == 0, z[0][:1], params.bn)",
    ),
)
def test_a_gru_without_biases_in_a_batch_of_three():
    """Without biases, it read out-of-bounds memory from the third row on."""
    params, carry, xs = example("gru")
    bare = params._replace(b=0 * params.b, bn=0 * params.bn)
    _, hs = jaxrnn.unroll(CELLS["gru"], bare, None, xs)
    for b in range(B):
        _, alone = jaxrnn.unroll(CELLS["gru"], bare, None, xs[:, b])
        assert_close(hs[:, b], alone)
    weights = jax.tree.map(np.asarray, bare)
    r, z, n = np.split(xs[0] @ weights.wx, 3, -1)
    assert_close(hs[0], (1 - sigmoid(z)) * np.tanh(n))


@exhibit(
    42,
    "keras-team/keras#20173",
    "tensorflow/tensorflow#83119",
    plant=(
        OPTIONS,
        "zeros",
        "(*x.shape[:-1], hidden)",
        "(*(x.shape[:-1] or (1,)), hidden)",
    ),
)
def test_a_state_without_its_batch_axis():
    """On one kind of device the returned state lacked its batch axis."""
    params, _, xs = example("gru")
    for rows in ((), (slice(0, 1),), (slice(None),)):
        x = xs[(slice(None), *(rows or (0,)))]
        last, hs = jaxrnn.unroll(CELLS["gru"], params, None, x)
        assert last.shape == hs.shape[1:] == (*x.shape[1:-1], 5)


@exhibit(
    43,
    "tensorflow/tensorflow#43960",
    plant=(
        GRU,
        "gru.init",
        "draw.full(hidden, 0)",
        "draw.full(3 * hidden, 0)",
    ),
)
def test_a_number_of_weights_that_surprises():
    """A GRU has 150 or 165 weights, by one or two biases per gate; here it has 155."""
    like = jax.eval_shape(lambda: jaxrnn.gru(5).init(jax.random.key(0), 4))
    sizes = {k: a.shape for k, a in like._asdict().items()}
    assert sizes == {"wx": (4, 15), "wh": (5, 15), "b": (15,), "bn": (5,)}


@exhibit(
    54,
    "keras-team/keras#18861",
    plant=(
        "jaxrnn/compose/directions.py",
        "bidirectional.unroll",
        "BidirectionalCarry(cf, cb)",
        "BidirectionalCarry(cb, cf)",
    ),
)
def test_states_of_both_directions_on_one_backend_only():
    """A bidirectional layer that returns states failed on one of three backends."""
    cell = jaxrnn.bidirectional(jaxrnn.gru(5))
    params, xs = cell.init(jax.random.key(0), features=4), example("gru")[2]
    for engine in ("auto", "scan"):
        last, hs = jaxrnn.unroll(cell, params, None, xs, engine=engine)
        assert_close(last, jaxrnn.BidirectionalCarry(hs[-1, :, :5], hs[0, :, 5:]))

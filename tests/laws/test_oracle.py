"""Law 2: ``step`` equals NumPy written from the papers' equations, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws import oracles, programs
from tests.laws.cases import CELLS, B, F, H, T, assert_close, example, randomise
from tests.laws.numpy_jaxpr import evaluate
from tests.laws.oracles import ORACLES, SHOWN, gru, simple_rnn


@pytest.mark.parametrize("name", ORACLES)
def test_step_is_the_equation(name):
    params, carry, xs = programs.given(name)[:3]
    for x in xs:  # several steps: a bias that acts in the first alone would pass one
        want = ORACLES[name](params, carry, x)
        carry, h = programs.step(name)(params, carry, x)
        assert_close(jax.tree.leaves(carry), jax.tree.leaves(want))
        leaves = jax.tree.leaves(want)
        assert_close(h, SHOWN[name](params, *leaves) if name in SHOWN else leaves[0])


# What the table of the laws has not: (cell, the shape of x without batch, its oracle).
VARIANTS = {
    "antisymmetric_rnn without a gate": (
        jaxrnn.antisymmetric_rnn(H, epsilon=0.4, gamma=0.2),
        (F,),
        functools.partial(oracles.antisymmetric_rnn, epsilon=0.4, gamma=0.2),
    ),
    "slstm of exponential forget gates": (
        jaxrnn.slstm(6, heads=3, forget="exp"),
        (F,),
        functools.partial(oracles.slstm, forget=np.exp),
    ),
    "leaky_rnn without options": (
        jaxrnn.leaky_rnn(H, tau=4, dt=1),
        (F,),
        oracles.leaky_rnn_of_one_kind,
    ),
    "conv_gru after": (
        jaxrnn.conv_gru(3, (3, 2), recurrent_kernel=(2, 2), padding=[(1, 0), (1, 1)]),
        (5, 4, F),
        oracles.conv_gru_after,
    ),
    "conv_lstm of 3 dimensions": (
        jaxrnn.conv_lstm(
            2, (2, 1, 2), strides=(1, 2, 1), padding="VALID", dilation=(2, 1, 1)
        ),
        (5, 4, 3, F),
        oracles.conv_lstm_valid,
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_step_of_other_options(name):
    cell, shape, oracle = VARIANTS[name]
    x = np.random.RandomState(0).randn(3, *shape)
    params = randomise(1, jax.eval_shape(lambda: cell.init(jax.random.key(0), F)))
    carry = randomise(2, jax.eval_shape(cell.initial_carry, params, x))
    if name.startswith("slstm"):
        carry = carry._replace(n=1 + abs(carry.n))
    carry, params = jax.tree.map(np.asarray, (carry, params))
    got, h = cell.step(params, carry, x)
    want = jax.tree.leaves(oracle(params, carry, x))
    assert_close(jax.tree.leaves(got), want)
    assert_close(h, np.maximum(want[0], 0) if name.startswith("leaky") else want[0])


def test_compositions_are_what_they_say():
    keys = jax.random.split(jax.random.key(3), 4)
    x = np.asarray(jax.random.normal(keys[0], (3, 4)))
    one, two = jaxrnn.gru(5), jaxrnn.simple_rnn(4)
    p1, p2 = one.init(keys[1], 4), two.init(keys[2], 5)
    h1, h2 = (
        np.asarray(jax.random.normal(k, (3, n)))
        for k, n in zip(keys[:2], (5, 4), strict=True)
    )
    a = gru(jax.tree.map(np.asarray, p1), h1, x)
    b = simple_rnn(jax.tree.map(np.asarray, p2), h2, a)
    deep = jaxrnn.residual(jaxrnn.stack(one, two))
    carry, h = deep.step((p1, p2), (jnp.asarray(h1), jnp.asarray(h2)), x)
    assert_close((carry, h), ((jnp.asarray(a), jnp.asarray(b)), jnp.asarray(b + x)))


def test_skip_reads_the_input_in_each_layer_and_shows_all():
    cell, (params, carry, xs) = CELLS["skip"], example("skip")
    (p1, p2, p3), (h1, none, h3) = jax.tree.map(np.asarray, (params, carry))
    x = np.asarray(xs[0])
    a = gru(p1, h1, x)
    b = np.concatenate([x, a], -1) @ p2["w"]
    b = np.tanh(b + p2["b"] * b)
    c = simple_rnn(p3, h3, np.concatenate([x, b], -1))
    got = cell.step(params, carry, xs[0])
    assert_close(got, ((a, none, c), np.concatenate([a, b, c], -1)))
    assert none == ()


def test_pointwise_takes_all_of_time_at_once():
    seen = []
    cell = jaxrnn.pointwise(lambda x: seen.append(x.shape) or jnp.cos(x))
    xs = example("lstm")[2]
    lengths = [T, 2, 0]
    carry, hs = jaxrnn.unroll(cell, (), None, xs, lengths=lengths)
    inside = (np.arange(T)[:, None] < np.array(lengths))[..., None]
    assert carry == ()
    assert_close(hs, np.where(inside, np.cos(xs), 0))
    assert xs.shape in seen


def test_tokens_may_be_embedded_below_a_cell():
    embed = jaxrnn.pointwise(
        lambda table, x: table[x],
        init=lambda key, features: jax.random.normal(key, (features, F)),
        event_ndim=0,
    )
    gru = CELLS["gru"]
    cell = jaxrnn.stack(embed, gru)
    params = cell.init(jax.random.key(0), 11)
    assert params[0].shape == (11, F)
    xs = np.random.RandomState(0).randint(0, 11, (T, B))
    options = dict(lengths=[T, 2, 0])
    (none, h), hs = jaxrnn.unroll(cell, params, None, xs, **options)
    want = jaxrnn.unroll(gru, params[1], None, params[0][xs], **options)
    assert none == ()
    assert_close((h, hs), want)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "product"])
def test_merges(merge):
    params, carry, xs = example("bidirectional")
    both = jaxrnn.bidirectional(*CELLS["bidirectional"].parts, merge=merge)
    hs = lambda cell, backwards, p, c: evaluate(
        lambda p, c, xs: jaxrnn.unroll(cell, p, c, xs, reverse=backwards)[1], p, c, xs
    )
    got = hs(both, False, params, carry)
    f, b = map(hs, both.parts, (False, True), params, carry)
    how = {
        "concat": lambda: np.concatenate([f, b], -1),
        "sum": lambda: f + b,
        "mean": lambda: 0.5 * f + 0.5 * b,
        "product": lambda: f * b,
    }
    assert_close(got, how[merge]())


def test_a_learned_carry_is_where_it_starts():
    params, _, xs = example("learned_carry")
    cell = CELLS["learned_carry"]
    start = cell.initial_carry(params, xs[0])
    for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(params.carry), strict=True):
        np.testing.assert_array_equal(a, np.broadcast_to(b, a.shape))
    wrong = params._replace(carry=jax.tree.map(lambda a: a[:1], params.carry))
    with pytest.raises(ValueError, match=r"params\.carry: expected"):
        cell.initial_carry(wrong, xs[0])

"""Law 2: ``step`` equals NumPy written from the papers' equations, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.laws import programs
from tests.laws.cases import CELLS, assert_close, example
from tests.laws.numpy_jaxpr import evaluate

sigmoid = lambda a: 1 / (1 + np.exp(-a))


def simple_rnn(p, h, x, phi=np.tanh):
    return phi(x @ p.wx + h @ p.wh + p.b)


def lstm(p, carry, x):
    h, c = carry
    gate = lambda k: x @ p.wx[:, k] + h @ p.wh[:, k] + p.b[k]
    n = len(p.b) // 4
    i = sigmoid(gate(slice(0, n)))
    f = sigmoid(gate(slice(n, 2 * n)))
    g = np.tanh(gate(slice(2 * n, 3 * n)))
    o = sigmoid(gate(slice(3 * n, 4 * n)))
    c = f * c + i * g
    return o * np.tanh(c), c


def gru(p, h, x):
    n = len(p.bn)
    r, z, m = slice(0, n), slice(n, 2 * n), slice(2 * n, 3 * n)
    reset = sigmoid(x @ p.wx[:, r] + h @ p.wh[:, r] + p.b[r])
    keep = sigmoid(x @ p.wx[:, z] + h @ p.wh[:, z] + p.b[z])
    new = np.tanh(x @ p.wx[:, m] + p.b[m] + reset * (h @ p.wh[:, m] + p.bn))
    return (1 - keep) * new + keep * h


def own_gated(p, carry, x):
    s, ticks = carry
    n = s.shape[-1]
    a = x @ p.wx[:, :n] + s @ p.wh[:, :n]
    b = x @ p.wx[:, n:] + (0.5 + 0.3) * (s @ p.wh[:, n:])
    s = 0.7 * sigmoid(a + p.peep * s) * s + 0.3 * np.tanh(b)
    return s, ticks + 1


def own_deep(p, carry, x):
    h, c = carry
    n = c.shape[-1]
    gate = lambda k: (x @ p.wx + h @ p.wh)[..., k * n : (k + 1) * n]
    i, f, g = sigmoid(gate(0)), sigmoid(gate(1)), np.tanh(gate(2))
    c = f * c + i * g
    o = sigmoid(gate(3) + p.peep * c)
    normed = (c - c.mean(-1, keepdims=True)) / np.sqrt(c.var(-1, keepdims=True) + 1e-3)
    return (o * np.tanh(p.scale * normed + p.shift)) @ p.down, c


ORACLES = {
    "simple_rnn": simple_rnn,
    "simple_rnn_relu": lambda p, h, x: simple_rnn(p, h, x, lambda a: np.maximum(a, 0)),
    "lstm": lstm,
    "gru": gru,
    "own_gated": own_gated,
    "own_deep": own_deep,
}


@pytest.mark.parametrize("name", ORACLES)
def test_step_is_the_equation(name):
    params, carry, xs = programs.given(name)[:3]
    for x in xs:  # several steps: a bias that acts in the first alone would pass one
        want = ORACLES[name](params, carry, x)
        carry, h = programs.step(name)(params, carry, x)
        assert_close(jax.tree.leaves(carry), jax.tree.leaves(want))
        shown = jax.tree.leaves(want)[0]
        if name == "own_gated":
            shown = np.concatenate([shown, np.tanh(2.3 * shown)], -1)
        if name == "own_deep":
            shown = params.gain * shown
        assert_close(h, shown)


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
